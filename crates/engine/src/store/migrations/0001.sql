-- The farm's memory, schema 1. docs/store.md says what each column means.
--
-- Times are RFC 3339 in UTC, to the millisecond, always three digits, so that text order is time order.
-- Durations are in milliseconds, sizes in bytes.

CREATE TABLE runs (
    id                INTEGER PRIMARY KEY AUTOINCREMENT,
    state             TEXT NOT NULL CHECK (state IN ('running', 'finished', 'interrupted')),
    started_at        TEXT NOT NULL,
    ended_at          TEXT,
    pid               INTEGER NOT NULL,
    host              TEXT NOT NULL,
    program           TEXT NOT NULL,
    engine            TEXT NOT NULL,
    jobs              INTEGER,
    forecast          TEXT,
    admission_stopped TEXT,
    elapsed_ms        INTEGER,
    CHECK ((state = 'running') = (ended_at IS NULL))
) STRICT;

CREATE TABLE jobs (
    run            INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    job            TEXT NOT NULL,
    digest         TEXT,
    package        TEXT,
    version        TEXT,
    channel        TEXT,
    why            TEXT,
    state          TEXT NOT NULL CHECK (state IN ('running', 'built', 'up-to-date', 'rehearsed',
                       'failed', 'cancelled', 'not-started', 'interrupted')),
    started_at     TEXT,
    ended_at       TEXT,
    elapsed_ms     INTEGER,
    failure_stage  TEXT,
    failure_kind   TEXT,
    failure_detail TEXT,
    failure_hint   TEXT,
    PRIMARY KEY (run, job)
) STRICT, WITHOUT ROWID;

CREATE INDEX jobs_by_name ON jobs (job, run);

-- A stage that is entered again, because its job begins again, has a row for each time.
CREATE TABLE stages (
    run        INTEGER NOT NULL,
    job        TEXT NOT NULL,
    n          INTEGER NOT NULL,
    stage      TEXT NOT NULL,
    started_at TEXT NOT NULL,
    ended_at   TEXT,
    wall_ms    INTEGER,
    PRIMARY KEY (run, job, n),
    FOREIGN KEY (run, job) REFERENCES jobs (run, job) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- What is learned from outlives the run that it comes from.
CREATE TABLE samples (
    id                INTEGER PRIMARY KEY,
    at                TEXT NOT NULL,
    package           TEXT NOT NULL,
    version           TEXT NOT NULL,
    channel           TEXT NOT NULL,
    targets           INTEGER NOT NULL,
    compilers         INTEGER NOT NULL,
    milli_cpus        INTEGER NOT NULL,
    memory_bytes      INTEGER NOT NULL,
    end               TEXT NOT NULL CHECK (end IN ('done', 'out-of-memory')),
    peak_memory_bytes INTEGER,
    cpu_ms            INTEGER,
    compile_ms        INTEGER NOT NULL,
    objects_needed    INTEGER,
    objects_compiled  INTEGER,
    disk_bytes        INTEGER,
    CHECK ((objects_needed IS NULL) = (objects_compiled IS NULL))
) STRICT;

CREATE INDEX samples_by_subject ON samples (package, version, id);

CREATE TABLE attempts (
    run          INTEGER NOT NULL,
    job          TEXT NOT NULL,
    attempt      INTEGER NOT NULL,
    compilers    INTEGER,
    milli_cpus   INTEGER,
    memory_bytes INTEGER,
    adopted      INTEGER CHECK (adopted IN (0, 1)),
    started_at   TEXT,
    ended_at     TEXT,
    sample       INTEGER REFERENCES samples (id) ON DELETE SET NULL,
    PRIMARY KEY (run, job, attempt),
    FOREIGN KEY (run, job) REFERENCES jobs (run, job) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX attempts_by_sample ON attempts (sample);

CREATE TABLE retries (
    run    INTEGER NOT NULL,
    job    TEXT NOT NULL,
    n      INTEGER NOT NULL,
    at     TEXT NOT NULL,
    stage  TEXT NOT NULL,
    kind   TEXT NOT NULL,
    detail TEXT NOT NULL,
    hint   TEXT,
    remedy TEXT NOT NULL,
    PRIMARY KEY (run, job, n),
    FOREIGN KEY (run, job) REFERENCES jobs (run, job) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT: a number is never given twice, also after the events of old runs are gone.
CREATE TABLE events (
    seq  INTEGER PRIMARY KEY AUTOINCREMENT,
    run  INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    at   TEXT NOT NULL,
    json TEXT NOT NULL
) STRICT;

CREATE INDEX events_by_run ON events (run, seq);

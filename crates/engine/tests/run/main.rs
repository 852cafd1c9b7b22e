//! Runs of the dispatcher on the scripted engine: what becomes of every job, and what is left.

mod cancel;
mod containers;
mod ends;
mod farm;
mod host;
mod leftovers;
mod scripts;

//! Runs of the dispatcher on the scripted engine: what becomes of every job, and what is left.

mod ends;
mod farm;
mod host;
mod leftovers;

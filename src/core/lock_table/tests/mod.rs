//! Scenarios, one per rule, and random calls against a naive model and a simulated server.

mod endings;
mod faults;
mod model;
mod modes;
mod queue;
mod random;
mod releases;
mod rings;
mod salvage;
mod script;
mod server;
mod tenure;
mod wire;
mod world;

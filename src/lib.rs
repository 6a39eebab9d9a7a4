//! waitbus: the event bus of a workstation. ARCHITECTURE.md has the picture; the modules below are in reading order,
//! and each may use only those above it that its layer allows.

pub mod model;

pub mod sys;

pub mod child;
pub mod config;
pub mod hub;
pub mod ingest;
pub mod setup;
pub mod store;
pub mod waiting;

pub mod daemon;

pub mod client;

pub mod mcp;
pub mod measure;
pub mod source;

pub mod cmd;

//! The one integration binary: the built program, real sockets, real processes, a real log. Every test is named after
//! the property that it proves.

#![allow(unreachable_pub, missing_docs, reason = "nobody imports a test")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test may")]
#![cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "some of the harness is for Linux alone"))]

mod harness;
mod random;

#[cfg(target_os = "linux")]
mod manager;
#[cfg(target_os = "linux")]
mod users;

#[cfg(target_os = "linux")]
mod activation;
mod alertmanager;
#[cfg(target_os = "linux")]
mod bench;
#[cfg(target_os = "linux")]
mod booted;
mod broadcast;
mod checkout;
#[cfg(target_os = "linux")]
mod command_source;
mod commits;
#[cfg(target_os = "linux")]
mod counts;
#[cfg(target_os = "linux")]
mod docker;
#[cfg(target_os = "linux")]
mod durability;
mod endings;
#[cfg(target_os = "linux")]
mod files;
mod github_poll;
#[cfg(target_os = "linux")]
mod handover;
mod hostile;
mod http;
mod kill;
mod kinds;
mod launchd;
mod listener;
mod manifests;
mod mcp;
mod mcp_clients;
mod messages;
mod notes;
#[cfg(target_os = "linux")]
mod on;
#[cfg(target_os = "linux")]
mod other_user;
mod predicates;
mod pytest;
mod races;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod sandbox;
#[cfg(target_os = "linux")]
mod setup;
mod simulation;
#[cfg(target_os = "linux")]
mod source_frame;
mod source_setup;
mod sources;
#[cfg(target_os = "linux")]
mod starting;
#[cfg(target_os = "linux")]
mod supervision;
mod terminal;
mod tidy;
#[cfg(target_os = "linux")]
mod units;
#[cfg(target_os = "linux")]
mod user_manager;
mod waiter;
mod waiting;
mod webhook;
mod wire;

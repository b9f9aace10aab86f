//! Options of the process that serves.

use std::{net::SocketAddr, num::NonZero, time::Duration};

use clap::Args;

use super::Given;
use crate::config::RawServer;

/// The address, threads and connections. Defaults are those of the configuration.
#[derive(Args, Clone, Debug)]
pub struct ServerArgs {
    /// The address to listen on; port 0 lets the system choose [default: 127.0.0.1:8080]
    #[arg(long, value_name = "IP:PORT", env = "PREWASM_LISTEN", hide_env_values = true, help_heading = "Server")]
    listen: Option<SocketAddr>,
    /// The address for `/livez` and `/readyz` [default: none]
    #[arg(long, value_name = "IP:PORT", env = "PREWASM_ADMIN", hide_env_values = true, help_heading = "Server")]
    admin: Option<SocketAddr>,
    /// Threads which serve [default: one per core]
    #[arg(long, value_name = "N", env = "PREWASM_WORKERS", hide_env_values = true, help_heading = "Server")]
    workers: Option<NonZero<usize>>,
    /// Wait this long for running requests when told to stop [default: 30s]
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = humantime::parse_duration,
        env = "PREWASM_DRAIN",
        hide_env_values = true,
        help_heading = "Server"
    )]
    drain: Option<Duration>,
    /// When told to stop, go on for this long, with `Connection: close` in each answer, so that load balancers notice
    /// [default: 0s]
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = humantime::parse_duration,
        env = "PREWASM_DRAIN_DELAY",
        hide_env_values = true,
        help_heading = "Server"
    )]
    drain_delay: Option<Duration>,
    /// Connections open at the same time; any more wait in the kernel [default: 10000]
    #[arg(long, value_name = "N", env = "PREWASM_CONNECTIONS", hide_env_values = true, help_heading = "Server")]
    connections: Option<NonZero<usize>>,
    /// Let other processes listen on the same address.
    #[arg(long, help_heading = "Server")]
    reuse_port: bool,
}

impl Given<ServerArgs> {
    /// What was given, for the configuration.
    pub fn raw(&self) -> RawServer {
        let args = &self.args;
        RawServer {
            listen: self.setting("listen", args.listen),
            admin: self.setting("admin", args.admin),
            workers: self.setting("workers", args.workers),
            drain: self.setting("drain", args.drain),
            drain_delay: self.setting("drain-delay", args.drain_delay),
            connections: self.setting("connections", args.connections),
            reuse_port: self.setting("reuse-port", Some(args.reuse_port)),
            ..RawServer::default()
        }
    }
}

//! Where events go: standard error, as a log for `serve` and as messages for everything else.

use std::{fmt, io, io::IsTerminal as _};

use prewasm_ext_http::LISTENING;
use tracing::{Event, Level, Subscriber, field::Field, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer as _,
    filter::Targets,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use crate::cli::{Cli, Command};

/// Starts logging as the command line asks for.
pub fn install(cli: &Cli) {
    let is_server = matches!(cli.command, Command::Serve(_));
    let level = match (cli.quiet, cli.verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, true) => LevelFilter::DEBUG,
        (false, false) if is_server => LevelFilter::INFO,
        (false, false) => LevelFilter::WARN,
    };
    // Libraries talk much: their details are for those who debug them.
    let libraries = level.min(if is_server { LevelFilter::WARN } else { LevelFilter::INFO });
    let filter = Targets::new()
        .with_default(libraries)
        .with_target("prewasm", level)
        .with_target("guest", level)
        .with_target(LISTENING, level.max(LevelFilter::INFO));
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let layer = if is_server {
        let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        layer.with_ansi(colour).with_target(false).boxed()
    } else {
        layer.with_ansi(false).event_format(Message).boxed()
    };
    tracing_subscriber::registry().with(layer.with_filter(filter)).init();
}

/// `prewasm: warning: MESSAGE`, as errors are printed.
struct Message;

impl<S, N> FormatEvent<S, N> for Message
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut text = Text::default();
        event.record(&mut text);
        if event.metadata().target() == LISTENING {
            return writeln!(writer, "prewasm: listening on {}", text.address);
        }
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        writeln!(writer, "prewasm: {level}: {}{}", text.message, text.fields)
    }
}

/// The fields of an event, as text.
#[derive(Default)]
struct Text {
    message: String,
    address: String,
    fields: String,
}

impl tracing::field::Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "address" => self.address = format!("{value:?}"),
            name => self.fields.push_str(&format!(" {name}={value:?}")),
        }
    }
}

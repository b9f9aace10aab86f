//! A CGI program which is mostly a script: a JavaScript engine, and a shop desk written in JavaScript.
//!
//! It exists as the hard case for snapshots: an interpreter's heap, full of small objects which point at each other,
//! made in a start-up which takes much longer than an answer. The engine is created and `shop.js` evaluated either by the
//! exported `wizer-initialize` or by `main`.
//!
//! The query string is handed to the script's function `answer`:
//!
//! | Query | Answer |
//! |---|---|
//! | `q=WORDS&count=N` | the parts which fit best, with the price of N |
//! | `ask=groups` | the groups of parts and their prices |
//! | `ask=numbers` | how many parts there are |
//!
//! An error of the script, as for a query with a wrong `%`, is answered with 500. The header `script-ready` says when the
//! script was evaluated: `before-start` or `at-start`.

use std::cell::RefCell;
use std::env;
use std::io::{self, Write};
use std::path::Path;

use boa_engine::{Context, JsNativeError, JsResult, JsString, JsValue, Source, js_string};

thread_local! {
    /// The engine with the script's state. Its values are not for threads, of which there is one.
    static SCRIPT: RefCell<Option<Context>> = const { RefCell::new(None) };
}

// SAFETY: no other symbol here, nor in the libraries linked, has this name.
#[unsafe(export_name = "wizer-initialize")]
extern "C" fn initialize() {
    with_script(|_| ());
}

fn main() -> io::Result<()> {
    let ready = if SCRIPT.with_borrow(Option::is_some) { "before-start" } else { "at-start" };
    let query = env::var("QUERY_STRING").unwrap_or_default();
    let (status, text) = match with_script(|script| answer(script, &query)) {
        Ok(text) => ("200 OK", text),
        Err(error) => ("500 Internal Server Error", error.to_string()),
    };
    let head = format!("Status: {status}\nContent-Type: text/plain\nScript-Ready: {ready}\n\n");
    let mut stdout = io::stdout().lock();
    stdout.write_all(head.as_bytes())?;
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// Lends the engine, with the script evaluated.
fn with_script<T>(use_it: impl FnOnce(&mut Context) -> T) -> T {
    SCRIPT.with_borrow_mut(|script| use_it(script.get_or_insert_with(evaluated)))
}

fn evaluated() -> Context {
    let mut context = Context::default();
    let script = Source::from_bytes(include_str!("shop.js")).with_path(Path::new("shop.js"));
    context.eval(script).expect("this script is known to be right");
    context
}

fn answer(script: &mut Context, query: &str) -> JsResult<String> {
    let answer = script.global_object().get(js_string!("answer"), script)?;
    let answer = answer.as_callable().ok_or_else(|| JsNativeError::typ().with_message("`answer` is no function"))?;
    let text = answer.call(&JsValue::undefined(), &[JsString::from(query).into()], script)?;
    Ok(text.to_string(script)?.to_std_string_lossy())
}

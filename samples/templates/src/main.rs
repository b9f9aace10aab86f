//! A bookshop's pages: a CGI program with a template engine.
//!
//! It exists as a usual case for snapshots: a crate as it is published, which turns text into data structures before it
//! can answer. The templates are parsed and the catalogue is built by the exported `wizer-initialize`, and nowhere else:
//! a program that nobody has initialized answers 503. So a snapshot does not need what parses templates any more, and a
//! tool which strips it can leave that out.
//!
//! | Path | Answer |
//! |---|---|
//! | `/?name=` | the first page, greeting NAME |
//! | `/books?subject=&page=` | the books of a subject, some on a page |
//! | `/search?q=&subject=&page=` | those which have all words of Q in title or authors |
//! | `/book?id=` | one book |
//! | `/cart?ID=COPIES&…` | what that would cost |
//! | `/contact?name=&mail=&about=&message=` | a form, filled in |
//! | `/feed?count=`, `/sitemap` | XML |
//! | `/letter?name=&order=&books=ID,…&gift=` | plain text |

mod books;
mod pages;
mod query;

use std::env;
use std::io::{self, Write};
use std::sync::OnceLock;

use minijinja::{Environment, context};

use books::Book;

static SHOP: OnceLock<Shop> = OnceLock::new();

/// All that does not depend on the request.
struct Shop {
    pages: Environment<'static>,
    books: Vec<Book>,
}

// SAFETY: no other symbol here, nor in the libraries linked, has this name.
#[unsafe(export_name = "wizer-initialize")]
extern "C" fn initialize() {
    SHOP.get_or_init(Shop::open);
}

fn main() -> io::Result<()> {
    let Some(shop) = SHOP.get() else {
        return answer("503 Service Unavailable", "text/plain", "`wizer-initialize` was not called");
    };
    let path = variable("PATH_INFO");
    let query = query::parse(&variable("QUERY_STRING"));
    let route = pages::find(&path);
    let selection = books::select(&shop.books, route.template, &query);
    let page = context! { path, query, ..selection };
    let text = shop.pages.get_template(route.template).and_then(|template| template.render(page));

    match text {
        Ok(text) => answer(route.status, route.kind, &text),
        Err(error) => answer("500 Internal Server Error", "text/plain", &format!("{error:#}")),
    }
}

fn answer(status: &str, kind: &str, text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    write!(stdout, "Status: {status}\nContent-Type: {kind}\n\n{text}\n")?;
    stdout.flush()
}

impl Shop {
    fn open() -> Self {
        let books = books::all();
        Self { pages: pages::parse(&books), books }
    }
}

/// CGI has a variable unset where HTTP has nothing to say, so a missing one is empty here.
fn variable(name: &str) -> String {
    env::var_os(name).map(|value| value.to_string_lossy().into_owned()).unwrap_or_default()
}

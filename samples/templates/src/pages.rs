//! The templates, and which of them answers at which path.

use minijinja::{Environment, Value, context};

use crate::books::{self, Book};

/// How a path is answered.
pub struct Route {
    pub template: &'static str,
    pub status: &'static str,
    pub kind: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

const ROUTES: &[(&str, &str, &str)] = &[
    ("/", "home.html", HTML),
    ("/books", "books.html", HTML),
    ("/search", "search.html", HTML),
    ("/book", "book.html", HTML),
    ("/cart", "cart.html", HTML),
    ("/contact", "contact.html", HTML),
    ("/feed", "feed.xml", "application/atom+xml"),
    ("/sitemap", "sitemap.xml", "application/xml"),
    ("/letter", "letter.txt", TEXT),
];

const TEMPLATES: &[(&str, &str)] = &[
    ("base.html", include_str!("../pages/base.html")),
    ("shelf.html", include_str!("../pages/shelf.html")),
    ("cards.html", include_str!("../pages/cards.html")),
    ("forms.html", include_str!("../pages/forms.html")),
    ("home.html", include_str!("../pages/home.html")),
    ("books.html", include_str!("../pages/books.html")),
    ("search.html", include_str!("../pages/search.html")),
    ("book.html", include_str!("../pages/book.html")),
    ("cart.html", include_str!("../pages/cart.html")),
    ("contact.html", include_str!("../pages/contact.html")),
    ("missing.html", include_str!("../pages/missing.html")),
    ("feed.xml", include_str!("../pages/feed.xml")),
    ("sitemap.xml", include_str!("../pages/sitemap.xml")),
    ("letter.txt", include_str!("../pages/letter.txt")),
];

/// The route of a path; there is always one.
pub fn find(path: &str) -> Route {
    // No path at all is the first page, too.
    let path = if path.is_empty() { "/" } else { path };
    match ROUTES.iter().find(|(route, _, _)| *route == path) {
        Some((_, template, kind)) => Route { template, status: "200 OK", kind },
        None => Route { template: "missing.html", status: "404 Not Found", kind: HTML },
    }
}

/// Parses all templates and gives them the catalogue.
pub fn parse(catalogue: &[Book]) -> Environment<'static> {
    let mut pages = Environment::new();
    for (name, text) in TEMPLATES {
        pages.add_template(name, text).expect("these templates are known to be right");
    }
    pages.add_global("books", catalogue.iter().map(Book::value).collect::<Value>());
    pages.add_global(
        "shop",
        context! {
            name => "Pages & Sons",
            claim => "Second-hand books since 1974.",
            origin => "https://books.example",
            street => "12 Lantern Lane",
            town => "Harbourton",
            subjects => books::subjects(catalogue),
        },
    );
    pages
}

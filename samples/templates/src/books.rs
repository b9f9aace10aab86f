//! The catalogue, and which part of it a page shows.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::{Value, context};

/// How many books are on a page.
const ON_A_PAGE: usize = 6;

/// A book as the catalogue has it. Title and authors are made up.
pub struct Book {
    id: u32,
    title: &'static str,
    authors: Vec<&'static str>,
    subject: &'static str,
    tags: Vec<&'static str>,
    year: u32,
    pages: u32,
    cents: u32,
    rating: u32,
    stock: u32,
}

/// All books: a line each in `books.txt`.
pub fn all() -> Vec<Book> {
    let lines = include_str!("books.txt").lines();
    lines.zip(1..).map(|(line, id)| Book::read(id, line).expect("these lines are known to be right")).collect()
}

/// The subjects, in order.
pub fn subjects(books: &[Book]) -> Value {
    books.iter().map(|book| book.subject).collect::<BTreeSet<_>>().into_iter().collect()
}

/// What a page shows: `shown`, the books on it; `found`, how many there are on all pages; `page` and `pages`.
pub fn select(books: &[Book], template: &str, query: &BTreeMap<String, String>) -> Value {
    let value = |name| query.get(name).map_or("", String::as_str);
    let found: Vec<_> = match template {
        "home.html" => books.iter().filter(|book| book.rating == 5).collect(),
        "books.html" | "search.html" => {
            books.iter().filter(|book| book.is_about(value("subject")) && book.has_words(value("q"))).collect()
        }
        "book.html" => books.iter().filter(|book| value("id").parse() == Ok(book.id)).collect(),
        _ => Vec::new(),
    };
    let pages = found.len().div_ceil(ON_A_PAGE).max(1);
    let page = value("page").parse().unwrap_or(1).clamp(1, pages);
    let shown: Value = found.iter().skip((page - 1) * ON_A_PAGE).take(ON_A_PAGE).map(|book| book.value()).collect();
    context! { shown, found => found.len(), page, pages }
}

impl Book {
    /// Reads `TITLE; AUTHOR, …; SUBJECT; TAG, …; YEAR; PAGES; CENTS; RATING; STOCK`.
    fn read(id: u32, line: &'static str) -> Option<Self> {
        let mut parts = line.split(';').map(str::trim);
        let title = parts.next()?;
        let authors = parts.next()?.split(", ").collect();
        let subject = parts.next()?;
        let tags = parts.next()?.split(", ").filter(|tag| !tag.is_empty()).collect();
        let mut number = || parts.next()?.parse().ok();
        let (year, pages, cents, rating, stock) = (number()?, number()?, number()?, number()?, number()?);
        Some(Self { id, title, authors, subject, tags, year, pages, cents, rating, stock })
    }

    /// The book as templates see it.
    pub fn value(&self) -> Value {
        let Self { id, title, subject, year, pages, cents, rating, stock, .. } = *self;
        let [authors, tags] = [&self.authors, &self.tags].map(|list| list.iter().copied().collect::<Value>());
        context! { id, title, authors, subject, tags, year, pages, cents, rating, stock }
    }

    fn is_about(&self, subject: &str) -> bool {
        matches!(subject, "" | "any") || self.subject == subject
    }

    fn has_words(&self, words: &str) -> bool {
        let text = format!("{} {}", self.title, self.authors.join(" ")).to_lowercase();
        words.to_lowercase().split_whitespace().all(|word| text.contains(word))
    }
}

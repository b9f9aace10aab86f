//! Questions to a server, and what of the answers must be the same everywhere.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use futures_util::{StreamExt as _, stream};
use reqwest::{Body, Client, Method, RequestBuilder, Response};
use tokio::{sync::mpsc, time::timeout};

use crate::process::PATIENCE;

/// Fields of the connection, which is the host's, and how the host frames a body.
pub const OF_THE_HOST: [&str; 5] = ["connection", "content-length", "date", "keep-alive", "transfer-encoding"];

pub struct Question {
    pub method: Method,
    pub path: String,
    pub content: Content,
}

pub enum Content {
    Nothing,
    Whole(Vec<u8>),
    /// Sent in chunks.
    Pieces(&'static [&'static str]),
}

#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub fields: BTreeMap<String, String>,
    /// Told in the head; not every host keeps it.
    pub length: Option<String>,
    pub body: Vec<u8>,
}

impl Question {
    pub fn get(path: &str) -> Self {
        Self { method: Method::GET, path: path.to_owned(), content: Content::Nothing }
    }

    pub fn post(path: &str, body: String) -> Self {
        Self { method: Method::POST, path: path.to_owned(), content: Content::Whole(body.into_bytes()) }
    }

    /// Requests of all shapes.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for path in ["/", "/echo", "/echo/reversed", "/missing?a=b%20c"] {
            let big = "0123456789abcdef".repeat(20_000).into_bytes();
            for (method, content) in [
                (Method::GET, Content::Nothing),
                (Method::HEAD, Content::Nothing),
                (Method::POST, Content::Whole(b"hello".to_vec())),
                (Method::POST, Content::Pieces(&["in ", "three ", "chunks"])),
                (Method::PUT, Content::Whole(big)),
                (Method::DELETE, Content::Nothing),
            ] {
                all.push(Self { method, path: path.to_owned(), content });
            }
        }
        all
    }

    pub fn name(&self) -> String {
        let length = match &self.content {
            Content::Nothing => "nothing".to_owned(),
            Content::Whole(bytes) => format!("{} bytes", bytes.len()),
            Content::Pieces(pieces) => format!("{} chunks", pieces.len()),
        };
        format!("{} {} with {length}", self.method, self.path)
    }

    fn request(&self, client: &Client, address: SocketAddr) -> RequestBuilder {
        let request = client.request(self.method.clone(), format!("http://{address}{}", self.path));
        match &self.content {
            Content::Nothing => request,
            Content::Whole(bytes) => request.body(bytes.clone()),
            Content::Pieces(pieces) => {
                let pieces = pieces.iter().map(|piece| Ok::<_, std::io::Error>(piece.as_bytes()));
                request.body(Body::wrap_stream(stream::iter(pieces)))
            }
        }
    }

    /// The same for many at a time.
    pub async fn answer(self, client: Client, address: SocketAddr) -> Answer {
        self.ask(&client, address).await
    }

    pub async fn ask(&self, client: &Client, address: SocketAddr) -> Answer {
        let response = self.request(client, address).send().await;
        read(response.unwrap_or_else(|error| panic!("{}: {error:?}", self.name()))).await
    }
}

impl Answer {
    pub fn text(&self) -> (u16, String) {
        (self.status, String::from_utf8_lossy(&self.body).into_owned())
    }
}

async fn read(response: Response) -> Answer {
    let field = |(name, value): (&_, &reqwest::header::HeaderValue)| {
        (format!("{name}"), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let mut fields: BTreeMap<_, _> = response.headers().iter().map(field).collect();
    let length = fields.get("content-length").cloned();
    fields.retain(|name, _| !OF_THE_HOST.contains(&name.as_str()));
    let status = response.status().as_u16();
    Answer { status, fields, length, body: response.bytes().await.expect("a whole body").to_vec() }
}

/// Sends a body in pieces, and gives what comes back; with `streams`, the first bytes of the answer must come before
/// the second piece is sent.
pub async fn echo_in_pieces(client: &Client, url: String, pieces: Vec<Vec<u8>>, streams: bool) -> Vec<u8> {
    let (sender, receiver) = mpsc::channel::<Vec<u8>>(1);
    let body = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (Ok::<_, std::io::Error>(piece), receiver))
    });
    let sending = client.post(url).body(Body::wrap_stream(body)).send();
    let mut pieces = pieces.into_iter();
    sender.send(pieces.next().expect("a first piece")).await.expect("room for one");
    let rest = async move {
        for piece in pieces {
            sender.send(piece).await.expect("the server still reads");
        }
    };
    if streams {
        let response = in_time(sending).await.expect("an answer");
        let mut coming = response.bytes_stream();
        let first = in_time(coming.next()).await.expect("a beginning").expect("readable");
        let remaining = coming.fold(first.to_vec(), |mut all, piece| async move {
            all.extend_from_slice(&piece.expect("a whole body"));
            all
        });
        tokio::join!(remaining, rest).0
    } else {
        let whole = async { sending.await.expect("an answer").bytes().await.expect("a whole body").to_vec() };
        tokio::join!(whole, rest).0
    }
}

async fn in_time<T>(waiting: impl Future<Output = T>) -> T {
    let limit: Duration = PATIENCE / 2;
    timeout(limit, waiting).await.expect("it comes before the request ends")
}

//! An API server in memory, for tests: one collection of objects with versions, conflicts, lists
//! and watches, and the ways in which it may be away. It needs no network, so tests pause time.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use axum::{
    body::{self, Body, Bytes},
    http::{Method, Request, Response, StatusCode},
};
use kube::Client;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time};
use tower::BoxError;

#[derive(Clone)]
pub(crate) struct FakeApi(Arc<Mutex<State>>);

struct State {
    plural: &'static str,
    version: u64,
    objects: BTreeMap<String, Value>,
    history: Vec<(u64, Bytes)>,
    watches: Vec<mpsc::UnboundedSender<io::Result<Bytes>>>,
    mode: Mode,
    watch_mode: Mode,
    requests: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Up,
    /// Connections are refused.
    Down,
    /// Requests are read and never answered.
    Hung,
    /// Every answer is this status.
    Status(u16),
}

/// What becomes of one request on its way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Passage {
    pub(crate) before: Duration,
    pub(crate) after: Duration,
    pub(crate) lost: Option<Lost>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    Request,
    Answer,
}

// === impl FakeApi ===

impl FakeApi {
    /// Of the collection whose paths end in `plural`.
    pub(crate) fn new(plural: &'static str) -> Self {
        Self(Arc::new(Mutex::new(State {
            plural,
            version: 0,
            objects: BTreeMap::new(),
            history: Vec::new(),
            watches: Vec::new(),
            mode: Mode::Up,
            watch_mode: Mode::Up,
            requests: Vec::new(),
        })))
    }

    pub(crate) fn client(&self) -> Client {
        self.client_over(Passage::default)
    }

    /// A client of whose requests each goes the way that `passage` says.
    pub(crate) fn client_over(
        &self,
        passage: impl Fn() -> Passage + Send + Sync + 'static,
    ) -> Client {
        let api = self.clone();
        let passage = Arc::new(passage);
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let (api, passage) = (api.clone(), passage());
            async move { api.carry(request, passage).await }
        });
        Client::new(service, "default")
    }

    /// From now on; and if it is away, breaks what watches there are.
    pub(crate) fn set(&self, mode: Mode) {
        let mut state = self.0.lock();
        state.mode = mode;
        match mode {
            Mode::Up | Mode::Hung => {}
            Mode::Down | Mode::Status(_) => state.break_watches(),
        }
    }

    /// Lists are as ever, and watches are answered so.
    pub(crate) fn set_watches(&self, mode: Mode) {
        self.0.lock().watch_mode = mode;
    }

    pub(crate) fn break_watches(&self) {
        self.0.lock().break_watches();
    }

    /// Forgets what happened: watches of older versions are refused as too old.
    pub(crate) fn compact(&self) {
        self.0.lock().history.clear();
    }

    pub(crate) fn put(&self, object: Value) {
        self.0.lock().put(object);
    }

    pub(crate) fn delete(&self, namespace: &str, name: &str) {
        self.0.lock().delete(&format!("{namespace}/{name}"));
    }

    pub(crate) fn object(&self, namespace: &str, name: &str) -> Option<Value> {
        self.0
            .lock()
            .objects
            .get(&format!("{namespace}/{name}"))
            .cloned()
    }

    pub(crate) fn objects(&self) -> Vec<Value> {
        self.0.lock().objects.values().cloned().collect()
    }

    /// Methods and URIs so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.0.lock().requests.clone()
    }

    async fn carry(
        self,
        request: Request<kube::client::Body>,
        passage: Passage,
    ) -> Result<Response<Body>, BoxError> {
        // What is on its way arrives, even if the sender no longer waits for an answer.
        let answer = tokio::spawn(async move {
            time::sleep(passage.before).await;
            if passage.lost == Some(Lost::Request) {
                return std::future::pending().await;
            }
            self.answer(request).await
        });
        let answer = answer.await??;
        time::sleep(passage.after).await;
        if passage.lost == Some(Lost::Answer) {
            return std::future::pending().await;
        }
        Ok(answer)
    }

    async fn answer(
        self,
        request: Request<kube::client::Body>,
    ) -> Result<Response<Body>, BoxError> {
        let (head, sent) = request.into_parts();
        let sent = body::to_bytes(Body::new(sent), usize::MAX).await?;
        let query = head.uri.query().unwrap_or_default().to_owned();
        let watches = query.split('&').any(|pair| pair == "watch=true");
        let mode = {
            let mut state = self.0.lock();
            state.requests.push(format!("{} {}", head.method, head.uri));
            if watches && state.mode == Mode::Up {
                state.watch_mode
            } else {
                state.mode
            }
        };
        match mode {
            Mode::Up => {}
            Mode::Down => return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into()),
            Mode::Hung => return std::future::pending().await,
            Mode::Status(code) => return Ok(status(code)),
        }
        let path: Vec<&str> = head.uri.path().split('/').collect();
        let mut state = self.0.lock();
        let namespace = path
            .iter()
            .position(|part| *part == "namespaces")
            .map(|i| path[i + 1]);
        let last = path[path.len() - 1];
        if last != state.plural {
            let id = format!("{}/{last}", namespace.unwrap_or_default());
            return Ok(state.on_object(&head.method, &id, &sent));
        }
        if head.method == Method::POST {
            return Ok(state.create(namespace.unwrap_or_default(), &sent));
        }
        if watches {
            return Ok(state.watch(&query));
        }
        Ok(state.list())
    }
}

// === impl State ===

impl State {
    fn list(&self) -> Response<Body> {
        answer(&json!({
            "apiVersion": "v1",
            "kind": "List",
            "metadata": { "resourceVersion": self.version.to_string() },
            "items": self.objects.values().collect::<Vec<_>>(),
        }))
    }

    fn watch(&mut self, query: &str) -> Response<Body> {
        let from = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("resourceVersion="));
        let from: u64 = from.and_then(|version| version.parse().ok()).unwrap_or(0);
        let kept = self
            .history
            .first()
            .map_or(self.version, |(oldest, _)| oldest - 1);
        let (sender, receiver) = mpsc::unbounded_channel();
        if from < kept {
            let gone = json!({ "type": "ERROR", "object": failure(410) });
            let _ = sender.send(Ok(line(&gone)));
        } else {
            for (_, event) in self.history.iter().filter(|(version, _)| *version > from) {
                let _ = sender.send(Ok(event.clone()));
            }
            self.watches.push(sender);
        }
        let stream = futures::stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|item| (item, receiver))
        });
        Response::new(Body::from_stream(stream))
    }

    fn on_object(&mut self, method: &Method, id: &str, sent: &[u8]) -> Response<Body> {
        let Some(current) = self.objects.get(id).cloned() else {
            return status(404);
        };
        if method == Method::GET {
            return answer(&current);
        }
        assert_eq!(method, Method::PUT, "of {id}");
        let mut object: Value = serde_json::from_slice(sent).unwrap();
        let version = &object["metadata"]["resourceVersion"];
        if version.is_string() && *version != current["metadata"]["resourceVersion"] {
            return status(409);
        }
        object["metadata"]["namespace"] = current["metadata"]["namespace"].clone();
        answer(&self.put(object))
    }

    fn create(&mut self, namespace: &str, sent: &[u8]) -> Response<Body> {
        let mut object: Value = serde_json::from_slice(sent).unwrap();
        object["metadata"]["namespace"] = namespace.into();
        if self.objects.contains_key(&id(&object)) {
            return failed(409, "AlreadyExists");
        }
        answer(&self.put(object))
    }

    fn put(&mut self, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let known = self.objects.insert(id(&object), object.clone()).is_some();
        self.tell(if known { "MODIFIED" } else { "ADDED" }, &object);
        object
    }

    fn delete(&mut self, id: &str) {
        let mut object = self.objects.remove(id).unwrap();
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.tell("DELETED", &object);
    }

    fn tell(&mut self, kind: &str, object: &Value) {
        let event = line(&json!({ "type": kind, "object": object }));
        self.history.push((self.version, event.clone()));
        if self.mode == Mode::Up {
            self.watches
                .retain(|watch| watch.send(Ok(event.clone())).is_ok());
        }
    }

    fn break_watches(&mut self) {
        for watch in self.watches.drain(..) {
            let _ = watch.send(Err(io::ErrorKind::ConnectionReset.into()));
        }
    }
}

fn id(object: &Value) -> String {
    let part = |name: &str| {
        object["metadata"][name]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    format!("{}/{}", part("namespace"), part("name"))
}

fn line(event: &Value) -> Bytes {
    format!("{event}\n").into()
}

fn answer(object: &Value) -> Response<Body> {
    Response::new(Body::from(object.to_string()))
}

fn status(code: u16) -> Response<Body> {
    failed(code, reason(code))
}

fn failed(code: u16, reason: &str) -> Response<Body> {
    let mut failure = failure(code);
    failure["reason"] = reason.into();
    let mut response = answer(&failure);
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

fn failure(code: u16) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "code": code,
        "reason": reason(code),
        "message": "as this test wants",
    })
}

fn reason(code: u16) -> &'static str {
    match code {
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        _ => "InternalError",
    }
}

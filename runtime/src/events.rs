//! Kubernetes Events that tell a user something once.

use std::{collections::HashMap, sync::Arc, time::Duration};

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use parking_lot::Mutex;
use tokio::{sync::mpsc, time};

use crate::tasks::Tasks;

/// Events that wait for the API server; more are dropped, as they would only be late.
const QUEUE: usize = 256;
/// An Event that the API server does not take in this time is dropped, too.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Objects whose last words are remembered; with more, some may be repeated.
const REMEMBERED: usize = 8192;
/// Longest note that the API takes, in bytes (events.k8s.io/v1).
const LONGEST_NOTE: usize = 1024;
/// Longest part of an Event's name that is the object's, which leaves room for a time (RFC 1123:
/// a name has at most 253 characters).
const LONGEST_SUBJECT: usize = 230;
/// Where Events about objects without a namespace have to be.
const CLUSTER_SCOPED_NAMESPACE: &str = "default";

/// Publishes Events. Callers may say the same thing in each pass: it is published when it changes.
///
/// kube's `Recorder` instead counts repetitions in the first Event's series and keeps the first
/// note, so that a user would read what was wrong and not what is.
#[derive(Clone)]
pub struct Events {
    said: Arc<Mutex<Said>>,
    queue: mpsc::Sender<Queued>,
}

/// What is wrong (or right) with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How much it matters.
    pub severity: Severity,
    /// Why, in one CamelCase word that alerts may match.
    pub reason: &'static str,
    /// What the program was doing, in one CamelCase word.
    pub action: &'static str,
    /// What happened and what to do about it, for people. Cut at 1 KiB.
    pub note: String,
}

/// How much a notice matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It is as it should be.
    Normal,
    /// Somebody should do something.
    Warning,
}

type Said = HashMap<Topic, String>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Topic {
    kind: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
    reason: &'static str,
}

struct Queued {
    about: ObjectReference,
    topic: Topic,
    notice: Notice,
}

// === impl Events ===

impl Events {
    /// Publishes in the name of `controller` (a qualified name, `tombolo.io/operator`), running in
    /// the pod `instance`.
    #[must_use]
    pub fn spawn(client: Client, controller: &str, instance: &str, tasks: &Tasks) -> Self {
        let (queue, queued) = mpsc::channel(QUEUE);
        let events = Self {
            said: Arc::default(),
            queue,
        };
        let publisher = Publisher {
            client,
            controller: controller.to_owned(),
            instance: instance.to_owned(),
            said: Arc::clone(&events.said),
        };
        drop(tasks.spawn_service("events", publisher.run(queued)));
        events
    }

    /// Says `notice` about an object, unless it was the last thing said about it for that reason.
    /// Never waits; if the API server is away it is dropped, to be said again in a later pass.
    pub fn publish(&self, about: &ObjectReference, notice: Notice) {
        let topic = Topic::new(about, notice.reason);
        let mut said = self.said.lock();
        if said.get(&topic) == Some(&notice.note) {
            return;
        }
        let queued = Queued {
            about: about.clone(),
            topic: topic.clone(),
            notice,
        };
        let note = queued.notice.note.clone();
        if self.queue.try_send(queued).is_err() {
            tracing::debug!(reason = topic.reason, "event dropped");
            return;
        }
        if said.len() >= REMEMBERED {
            said.clear();
        }
        said.insert(topic, note);
    }

    /// Forgets what was said about an object for `reason`: it no longer holds, so that it is news
    /// when it holds again.
    pub fn forget(&self, about: &ObjectReference, reason: &'static str) {
        self.said.lock().remove(&Topic::new(about, reason));
    }
}

// === impl Topic ===

impl Topic {
    fn new(about: &ObjectReference, reason: &'static str) -> Self {
        Self {
            kind: about.kind.clone(),
            namespace: about.namespace.clone(),
            name: about.name.clone(),
            uid: about.uid.clone(),
            reason,
        }
    }
}

// === impl Severity ===

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

struct Publisher {
    client: Client,
    controller: String,
    instance: String,
    said: Arc<Mutex<Said>>,
}

// === impl Publisher ===

impl Publisher {
    async fn run(self, mut queue: mpsc::Receiver<Queued>) {
        while let Some(Queued {
            about,
            topic,
            notice,
        }) = queue.recv().await
        {
            let event = self.event(about, notice, Timestamp::now());
            let namespace = event.metadata.namespace.clone().unwrap_or_default();
            let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
            let created = time::timeout(TIMEOUT, api.create(&PostParams::default(), &event)).await;
            let error = match created {
                Ok(Ok(_)) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            tracing::debug!(%namespace, reason = topic.reason, error, "event not published");
            self.said.lock().remove(&topic);
        }
    }

    fn event(&self, about: ObjectReference, notice: Notice, now: Timestamp) -> Event {
        let namespace = about
            .namespace
            .clone()
            .filter(|namespace| !namespace.is_empty());
        let subject = about.name.as_deref().unwrap_or("unknown");
        let subject = &subject[..subject.floor_char_boundary(LONGEST_SUBJECT)];
        let subject = subject.trim_end_matches(['-', '.']);
        let mut note = notice.note;
        note.truncate(note.floor_char_boundary(LONGEST_NOTE));
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{subject}.{:x}", now.as_nanosecond())),
                namespace: namespace.or_else(|| Some(CLUSTER_SCOPED_NAMESPACE.to_owned())),
                ..ObjectMeta::default()
            },
            type_: Some(notice.severity.as_str().to_owned()),
            reason: Some(notice.reason.to_owned()),
            action: Some(notice.action.to_owned()),
            note: Some(note),
            event_time: Some(MicroTime(now)),
            regarding: Some(about),
            reporting_controller: Some(self.controller.clone()),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        }
    }
}

#[cfg(test)]
mod tests;

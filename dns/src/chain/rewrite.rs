//! `rewrite`: another name is asked, and the one that was asked comes back.

use hickory_proto::rr::rdata::{CNAME, MX, NS, PTR, SRV};
use hickory_proto::rr::{Name, RData};
use tombolo_dns_corefile::plugins::{AnswerRewrite, Rewrite, replace_groups};

use super::query::{Query, Response};

/// The rules of a server block.
pub(super) struct Rewrites(Vec<Rewrite>);

/// What was rewritten, to be undone in the answer.
pub(super) struct Rewriting<'a> {
    steps: Vec<Step<'a>>,
}

struct Step<'a> {
    rule: &'a Rewrite,
    asked: Name,
    rewritten: Name,
}

// === impl Rewrites ===

impl Rewrites {
    pub(super) fn new(rules: &[Rewrite]) -> Self {
        Self(rules.to_vec())
    }

    /// The question that is put in the place of `query`, if a rule fits.
    pub(super) fn query(&self, query: &Query) -> Option<(Query, Rewriting<'_>)> {
        let mut name = query.name.clone();
        let mut steps = Vec::new();
        for rule in &self.0 {
            let Some(rewritten) = rule.name.rewrite(&name) else {
                continue;
            };
            steps.push(Step {
                rule,
                asked: name,
                rewritten: rewritten.clone(),
            });
            name = rewritten;
            if !rule.goes_on {
                break;
            }
        }
        (!steps.is_empty()).then(|| {
            let query = Query {
                name,
                ..query.clone()
            };
            (query, Rewriting { steps })
        })
    }
}

// === impl Rewriting ===

impl Rewriting<'_> {
    /// The last rule is undone first.
    pub(super) fn response(&self, mut response: Response) -> Response {
        for step in self.steps.iter().rev() {
            for rewrite in &step.rule.answers {
                for record in response.all_records_mut() {
                    match rewrite {
                        AnswerRewrite::Auto => {
                            step.put_back(&mut record.name);
                            if let Some(name) = names(&mut record.data) {
                                step.put_back(name);
                            }
                        }
                        AnswerRewrite::Name(pattern, to) => replace(pattern, to, &mut record.name),
                        AnswerRewrite::Value(pattern, to) => {
                            if let Some(name) = names(&mut record.data) {
                                replace(pattern, to, name);
                            }
                        }
                    }
                }
            }
        }
        response
    }
}

// === impl Step ===

impl Step<'_> {
    fn put_back(&self, name: &mut Name) {
        if *name == self.rewritten {
            *name = self.asked.clone();
        }
    }
}

fn replace(pattern: &regex::Regex, to: &str, name: &mut Name) {
    let text = name.to_lowercase().to_ascii();
    let replaced = replace_groups(pattern, to, &text);
    if let Some(mut replaced) = replaced.and_then(|text| Name::from_ascii(text).ok()) {
        replaced.set_fqdn(true);
        *name = replaced;
    }
}

/// The names that a record leads to.
// Other types hold none that a client would follow.
#[allow(clippy::wildcard_enum_match_arm)]
fn names(data: &mut RData) -> Option<&mut Name> {
    match data {
        RData::CNAME(CNAME(name)) | RData::NS(NS(name)) | RData::PTR(PTR(name)) => Some(name),
        RData::SRV(SRV { target, .. }) => Some(target),
        RData::MX(MX { exchange, .. }) => Some(exchange),
        _ => None,
    }
}

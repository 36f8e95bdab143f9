//! Questions from hickory's server, answered by the chain of their server block.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use hickory_proto::op::ResponseCode;
use hickory_server::net::runtime::Time;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use prometheus_client::registry::Registry;
use tombolo_dns_corefile::Config;
use tombolo_dns_zone::wire;

use crate::chain::{Answered, Chain, CoreMetrics, Loops, Outcome, Plugin, Query, Response, Shared};
use crate::handler::{count, nothing, octets, send, transport};
use crate::metrics::{DnsMetrics, Transport};
use crate::publisher::Published;
use crate::reply::{Reply, is_query};
use crate::udp::{FastPath, SlowPath, Verdict};

use super::routes::Routes;

/// Answers by the routes of the moment. Clones are one handler.
#[derive(Clone)]
pub struct ChainHandler {
    routes: Arc<ArcSwap<Routes>>,
    metrics: DnsMetrics,
}

// === impl ChainHandler ===

impl ChainHandler {
    pub(super) fn new(routes: Arc<ArcSwap<Routes>>, metrics: DnsMetrics) -> Self {
        Self { routes, metrics }
    }

    /// A handler of all server blocks of `config` as if they were of one place, which listens
    /// nowhere. What is counted of blocks is shown nowhere either.
    ///
    /// # Errors
    /// If a plugin cannot be set up.
    pub fn of_one_place(
        config: &Config,
        published: Published,
        metrics: DnsMetrics,
    ) -> anyhow::Result<Self> {
        let core = CoreMetrics::register(&mut Registry::default());
        let shared = Shared {
            zone: published,
            loops: Loops::new().0,
        };
        let mut routes = Routes::default();
        for server in &config.servers {
            for key in &server.keys {
                let metrics = core.chain("dns://:53", &key.zone);
                let chain =
                    Chain::new(&server.plugins, &key.zone, shared.clone(), metrics.clone())?;
                routes.add(key.zone.clone(), chain, metrics);
            }
        }
        Ok(Self::new(Arc::new(ArcSwap::from_pointee(routes)), metrics))
    }

    /// The reply, and as octets; none if the client is to hear nothing.
    async fn reply(&self, request: &Request, started: Instant) -> Option<(Reply, Vec<u8>)> {
        let transport = transport(request.protocol());
        let with = |response| {
            let reply = Reply::with(request, response, transport);
            let octets = octets(&reply, request)?;
            Some((reply, octets))
        };
        let query = match query(request, transport) {
            Ok(query) => query,
            Err(code) => return with(Response::of_code(code)),
        };
        let routes = self.routes.load_full();
        let Some(route) = routes.of(&query.name) else {
            return with(Response::of_code(ResponseCode::Refused));
        };
        let Outcome::Answer(response) = route.chain.answer(&query).await else {
            return None;
        };
        let outline = response.outline();
        let (reply, octets) = with(response)?;
        route.metrics.answered(&Answered {
            transport,
            client: query.client.ip(),
            record_type: query.record_type,
            wants_dnssec: query.wants_dnssec(),
            code: outline.code,
            plugin: outline.plugin,
            octets: (query.octets, octets.len()),
            took: started.elapsed(),
        });
        route.chain.log(&query, &outline, octets.len(), started);
        Some((reply, octets))
    }
}

/// Chains may wait for others; here is answered what they need not wait for.
impl FastPath for ChainHandler {
    fn answer(&self, message: &[u8], client: SocketAddr, response: &mut Vec<u8>) -> Verdict {
        let started = Instant::now();
        let Some(query) = wire::Query::parse(message) else {
            return Verdict::HandOn;
        };
        let routes = self.routes.load();
        let Some(route) = routes.of_octets(&query) else {
            return Verdict::HandOn;
        };
        let Some(code) = route.chain.respond(&query, response) else {
            return Verdict::HandOn;
        };
        let record_type = query.record_type().into();
        let took = started.elapsed();
        route.metrics.answered(&Answered {
            transport: Transport::Udp,
            client: client.ip(),
            record_type,
            wants_dnssec: query.wants_dnssec(),
            code,
            plugin: Plugin::Multicluster,
            octets: (message.len(), response.len()),
            took,
        });
        self.metrics
            .answered(Transport::Udp, Some(record_type), code, took);
        Verdict::Answered
    }
}

impl SlowPath for ChainHandler {
    async fn respond(&self, request: &Request) -> Option<Vec<u8>> {
        let started = Instant::now();
        let (reply, octets) = self.reply(request, started).await?;
        count(&reply, request, &self.metrics, started);
        Some(octets)
    }
}

#[async_trait]
impl RequestHandler for ChainHandler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        response_handle: R,
    ) -> ResponseInfo {
        let started = Instant::now();
        // What it is as octets was for the metrics: hickory's server writes its own.
        let Some((reply, _)) = self.reply(request, started).await else {
            return nothing(request.metadata);
        };
        send(&reply, request, response_handle, &self.metrics, started).await
    }
}

/// The one question of a request, or the code that says what is wrong with it.
fn query(request: &Request, transport: Transport) -> Result<Query, ResponseCode> {
    is_query(request)?;
    // RFC 9619: exactly one.
    let [question] = request.queries.queries() else {
        return Err(ResponseCode::FormErr);
    };
    let edns = request.edns.as_ref();
    Ok(Query {
        id: request.metadata.id,
        name: question.original().name().clone(),
        record_type: question.query_type(),
        class: question.query_class(),
        client: request.src(),
        transport,
        recursion_desired: request.metadata.recursion_desired,
        checking_disabled: request.metadata.checking_disabled,
        authentic_data: request.metadata.authentic_data,
        edns: edns.map(|edns| (edns.max_payload(), edns.flags().dnssec_ok)),
        octets: request.as_slice().len(),
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_proto::op::Message;
    use hickory_proto::rr::{Name, RecordType};
    use tombolo_dns_corefile::parse;
    use tombolo_dns_zone::{Snapshot, Zone};

    use super::*;

    /// Of a clusterset without services.
    fn handler(corefile: &str) -> ChainHandler {
        let metrics = DnsMetrics::register(&mut Registry::default());
        let zone = Arc::new(Zone::new("clusterset.local", 5, 0).unwrap());
        let published = Arc::new(ArcSwap::from_pointee(Snapshot::new(zone, 1, [])));
        let config = parse("Corefile", corefile, &()).unwrap();
        ChainHandler::of_one_place(&config, published, metrics).unwrap()
    }

    fn verdict(corefile: &str, name: &str) -> Verdict {
        let mut query = Message::query();
        let name = Name::from_ascii(name).unwrap();
        query.add_query(hickory_proto::op::Query::query(name, RecordType::A));
        let client = (Ipv4Addr::LOCALHOST, 1_024).into();
        handler(corefile).answer(&query.to_vec().unwrap(), client, &mut Vec::new())
    }

    #[tokio::test]
    async fn octets_will_do_where_no_other_plugin_has_a_say() {
        let name = "a.b.svc.ClusterSet.local.";
        for (directives, expected) in [
            ("", Verdict::Answered),
            (
                "errors\n prometheus\n loadbalance\n reload\n loop\n forward . 192.0.2.1",
                Verdict::Answered,
            ),
            ("log", Verdict::HandOn),
            ("rrl", Verdict::HandOn),
            ("acl {\n drop\n }", Verdict::HandOn),
            ("cache", Verdict::HandOn),
            ("rewrite name a.org b.org", Verdict::HandOn),
            ("hosts /nowhere", Verdict::HandOn),
        ] {
            let corefile = format!(". {{\n multicluster clusterset.local\n {directives}\n}}\n");
            assert_eq!(verdict(&corefile, name), expected, "{directives}");
            assert_eq!(verdict(&corefile, "a.example."), Verdict::HandOn);
        }
        // Another may know what does not exist here.
        let passes_on = ". {\n multicluster clusterset.local {\n  fallthrough\n }\n}\n";
        assert_eq!(verdict(passes_on, name), Verdict::HandOn);
        assert_eq!(
            verdict(passes_on, "svc.clusterset.local."),
            Verdict::Answered
        );
    }

    #[tokio::test]
    async fn octets_find_the_block_with_the_longest_zone() {
        let corefile = ". {\n multicluster clusterset.local\n}\n\
                        b.svc.clusterset.local {\n hosts /nowhere\n}\n";
        for (name, expected) in [
            ("a.b.svc.clusterset.local.", Verdict::HandOn),
            ("B.svc.clusterset.local.", Verdict::HandOn),
            ("a.bb.svc.clusterset.local.", Verdict::Answered),
        ] {
            assert_eq!(verdict(corefile, name), expected, "{name}");
        }
    }
}

//! How many endpoints a service of the sender's cluster has.

use bytes::Bytes;
use prost::Message;
use tombolo_catalog::{Headcount, Headcounts, Place, ServiceName, is_dns_label, is_label_value};

use crate::error::DecodeError;
use crate::frame::frame;
use crate::limits;
use crate::proto;

/// All there is to know of one service now; what was said of it before is out of date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceHeadcounts {
    /// The service.
    pub service: ServiceName,
    /// Its endpoints by place; `None` if it is not exported any longer.
    pub headcounts: Option<Headcounts>,
}

impl ServiceHeadcounts {
    /// The message in its frame. Of more than [`limits::PLACES`] places the last ones are told as
    /// if they were nowhere.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let all = self.headcounts.iter().flatten();
        let excess = all.clone().count().saturating_sub(limits::PLACES);
        let mut nowhere = Headcount::default();
        let mut places: Vec<proto::PlaceHeadcount> = Vec::new();
        for (place, count) in all {
            let is_told = excess == 0 || places.len() + 1 < limits::PLACES;
            if is_told && (excess == 0 || *place != Place::default()) {
                places.push(to_proto(place, *count));
            } else {
                nowhere.ready = nowhere.ready.saturating_add(count.ready);
                nowhere.total = nowhere.total.saturating_add(count.total);
            }
        }
        if excess > 0 {
            places.push(to_proto(&Place::default(), nowhere));
        }
        frame(&proto::ServiceHeadcounts {
            namespace: self.service.namespace.clone(),
            name: self.service.name.clone(),
            places,
            withdrawn: self.headcounts.is_none(),
        })
    }

    /// Reads the content of a frame.
    ///
    /// # Errors
    /// When it is no such message, or a field breaks its rule.
    pub fn decode(content: Bytes) -> Result<Self, DecodeError> {
        let message = proto::ServiceHeadcounts::decode(content)?;
        for (field, value) in [("namespace", &message.namespace), ("name", &message.name)] {
            if !is_dns_label(value) {
                return Err(DecodeError::field(field, value));
            }
        }
        if message.places.len() > limits::PLACES {
            return Err(DecodeError::field(
                "places",
                message.places.len().to_string(),
            ));
        }
        let mut headcounts = Headcounts::new();
        for place in &message.places {
            for (field, value) in [("region", &place.region), ("zone", &place.zone)] {
                if !is_label_value(value) {
                    return Err(DecodeError::field(field, value));
                }
            }
            let key = Place {
                region: place.region.as_str().into(),
                zone: place.zone.as_str().into(),
            };
            let count = Headcount {
                ready: place.ready,
                total: place.total,
            };
            headcounts.insert(key, count);
        }
        Ok(Self {
            service: ServiceName::new(message.namespace, message.name),
            headcounts: (!message.withdrawn).then_some(headcounts),
        })
    }
}

fn to_proto(place: &Place, count: Headcount) -> proto::PlaceHeadcount {
    proto::PlaceHeadcount {
        region: place.region.to_string(),
        zone: place.zone.to_string(),
        ready: count.ready,
        total: count.total,
    }
}

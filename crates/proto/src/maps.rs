//! In which messages maps occur: their entries are encoded in the order of a hash table, and whoever wants the same bytes
//! for the same message must know where they are.

/// A message type in whose encoding a map can occur.
#[derive(Debug)]
pub struct Type {
    name: &'static str,
    fields: &'static [Field],
}

/// A field that is a map, or leads to one.
#[derive(Debug)]
struct Field {
    number: u32,
    is_map: bool,
    /// Of its type, or its entries' type; none if no map occurs in it.
    place: Option<usize>,
}

include!(concat!(env!("OUT_DIR"), "/maps.rs"));

/// What a field has to do with maps.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Its values are entries of a map.
    pub is_map: bool,
    /// The type of its values, where maps can occur in them.
    pub of: Option<&'static Type>,
}

/// The type of this full name, if maps can occur in it.
pub fn named(name: &str) -> Option<&'static Type> {
    let place = TYPES.binary_search_by_key(&name, |t| t.name).ok()?;
    TYPES.get(place)
}

impl Type {
    /// True of `google.protobuf.Any`, which holds what its type URL says.
    pub fn is_any(&self) -> bool {
        self.name == "google.protobuf.Any"
    }

    /// The field of this number, if it has to do with maps.
    pub fn field(&self, number: u32) -> Option<Found> {
        let place = self.fields.binary_search_by_key(&number, |f| f.number);
        let field = self.fields.get(place.ok()?)?;
        Some(Found {
            is_map: field.is_map,
            of: field.place.and_then(|place| TYPES.get(place)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_found_where_they_are() {
        let metadata = named("envoy.config.core.v3.Metadata").expect("it has maps");
        let field = metadata.field(1).expect("filter_metadata");
        assert!(field.is_map && field.of.is_some(), "{field:?}");
        assert!(named("google.protobuf.Any").is_some_and(Type::is_any));
        // A cluster has metadata, which has a map; a duration has none, nor has an address.
        let cluster = named("envoy.config.cluster.v3.Cluster").expect("it leads to maps");
        let field = cluster.field(25).expect("metadata");
        assert!(!field.is_map && field.of.is_some_and(|t| t.name == metadata.name));
        assert!(cluster.field(4).is_none());
        assert!(named("google.protobuf.Duration").is_none());
    }
}

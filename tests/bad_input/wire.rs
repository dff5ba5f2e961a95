//! Messages as trees of fields, so that one field can be given any bytes and all others stay as they are.

use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};
use prost_reflect::{Kind, MessageDescriptor};

/// A value as it goes over the wire, fit for its field or not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wire {
    Varint(u64),
    Fixed64(u64),
    Bytes(Vec<u8>),
    Fixed32(u32),
}

/// A message.
#[derive(Debug, Default)]
pub struct Tree(Vec<(u32, Node)>);

#[derive(Debug)]
enum Node {
    Value(Wire),
    Message(Tree),
}

impl Tree {
    /// Reads a message of this type. Those of other packages stay as they are.
    pub fn parse(of: &MessageDescriptor, mut bytes: &[u8]) -> Self {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let (number, wire_type) = decode_key(&mut bytes).unwrap();
            let value = match wire_type {
                WireType::Varint => Wire::Varint(decode_varint(&mut bytes).unwrap()),
                WireType::SixtyFourBit => Wire::Fixed64(u64::from_le_bytes(*take(&mut bytes))),
                WireType::ThirtyTwoBit => Wire::Fixed32(u32::from_le_bytes(*take(&mut bytes))),
                WireType::LengthDelimited => {
                    let length = usize::try_from(decode_varint(&mut bytes).unwrap()).unwrap();
                    Wire::Bytes(bytes.split_off(..length).unwrap().to_vec())
                }
                other => panic!("no message of ours has {other:?}"),
            };
            let node = match (value, inner(of, number)) {
                (Wire::Bytes(bytes), Some(inner)) => Node::Message(Self::parse(&inner, &bytes)),
                (value, _) => Node::Value(value),
            };
            fields.push((number, node));
        }
        Self(fields)
    }

    /// Gives a field these values instead of those it has; none takes it away. Of a repeated message on the way to it,
    /// the first is meant.
    pub fn set(&mut self, path: &[u32], values: impl IntoIterator<Item = Wire>) {
        match path {
            [] => {}
            [field] => {
                self.0.retain(|(number, _)| number != field);
                self.0.extend(values.into_iter().map(|value| (*field, Node::Value(value))));
            }
            [field, rest @ ..] => {
                let there =
                    self.0.iter().position(|(number, node)| number == field && matches!(node, Node::Message(_)));
                let index = there.unwrap_or_else(|| {
                    self.0.push((*field, Node::Message(Self::default())));
                    self.0.len() - 1
                });
                if let Node::Message(inner) = &mut self.0[index].1 {
                    inner.set(rest, values);
                }
            }
        }
    }

    /// The last value of a field.
    pub fn value(&self, path: &[u32]) -> Option<&Wire> {
        let (field, rest) = path.split_first()?;
        let mut nodes = self.0.iter().filter(|(number, _)| number == field).map(|(_, node)| node);
        match nodes.next_back()? {
            Node::Value(value) => Some(value),
            Node::Message(tree) => tree.value(rest),
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        self.0
            .iter()
            .flat_map(|(number, node)| match node {
                Node::Value(value) => encode(*number, value),
                Node::Message(tree) => encode(*number, &Wire::Bytes(tree.encode())),
            })
            .collect()
    }
}

/// One field on the wire.
pub fn encode(number: u32, value: &Wire) -> Vec<u8> {
    let mut bytes = Vec::new();
    match value {
        Wire::Varint(value) => {
            encode_key(number, WireType::Varint, &mut bytes);
            encode_varint(*value, &mut bytes);
        }
        Wire::Fixed64(value) => {
            encode_key(number, WireType::SixtyFourBit, &mut bytes);
            bytes.extend(value.to_le_bytes());
        }
        Wire::Fixed32(value) => {
            encode_key(number, WireType::ThirtyTwoBit, &mut bytes);
            bytes.extend(value.to_le_bytes());
        }
        Wire::Bytes(value) => {
            encode_key(number, WireType::LengthDelimited, &mut bytes);
            encode_varint(value.len() as u64, &mut bytes);
            bytes.extend(value);
        }
    }
    bytes
}

/// The type of a field that is a message of ours.
fn inner(of: &MessageDescriptor, number: u32) -> Option<MessageDescriptor> {
    match of.get_field(number)?.kind() {
        Kind::Message(inner) => is_ours(&inner).then_some(inner),
        _ => None,
    }
}

pub fn is_ours(message: &MessageDescriptor) -> bool {
    message.package_name().starts_with("fuseboard.")
}

fn take<'a, const LENGTH: usize>(bytes: &mut &'a [u8]) -> &'a [u8; LENGTH] {
    let (first, rest) = bytes.split_first_chunk().unwrap();
    *bytes = rest;
    first
}

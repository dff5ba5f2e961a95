//! Messages of the proto as JSON, by the proto's own mapping: what grpcurl shows and takes.
//!
//! Names go out in lowerCamelCase, and both spellings come in; 64-bit numbers are strings, durations `"30s"`, what is unset
//! is left out. A field that is not known is an error, as a misspelt one would otherwise do something else than it says.

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use prost::Message;
use prost_reflect::{Cardinality, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

use super::{error::Error, limits::Limits};
pub(super) use crate::grpc::reflect::method;
use crate::{engine, grpc::reflect};

/// A message of the type that `T` is, read from an object.
pub(super) fn read<T: Message + Default>(of: MessageDescriptor, object: Map<String, Value>) -> Result<T, Error> {
    let read = DynamicMessage::deserialize(of, Value::Object(object));
    let message = read.map_err(|error| malformed(error.to_string()))?;
    message.transcode_to().map_err(|error| malformed(error.to_string()))
}

/// A message as the text of an object, its fields in the order of the proto.
pub(super) fn write(of: MessageDescriptor, message: &impl Message) -> Result<String, Error> {
    // Both are of one proto, so that it does not fail.
    reflect::to_json(of, message).map_err(|error| internal(&*error))
}

/// As [`write()`], of the message in one of its fields.
pub(super) fn write_field(of: &MessageDescriptor, message: &impl Message, field: &str) -> Result<String, Error> {
    let mut dynamic = DynamicMessage::new(of.clone());
    dynamic.transcode_from(message).map_err(|error| internal(&error))?;
    match dynamic.get_field_by_name(field).as_deref() {
        Some(prost_reflect::Value::Message(inner)) => serde_json::to_string(inner).map_err(|error| internal(&error)),
        _ => Ok("{}".to_owned()),
    }
}

/// A body, as far as it may be long and comes in time.
pub(super) async fn body(body: Body, limits: &Limits) -> Result<Bytes, Error> {
    let collected = tokio::time::timeout(limits.body_timeout, Limited::new(body, limits.body_bytes).collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = format!("the body must be at most {} bytes", limits.body_bytes);
            Err(Error::new(StatusCode::PAYLOAD_TOO_LARGE, "MESSAGE_LIMIT", message))
        }
        Ok(Err(_)) => Err(malformed("the body has broken off".to_owned())),
        Err(_) => Err(Error::new(StatusCode::REQUEST_TIMEOUT, "BODY_TIMEOUT", "the body took too long")),
    }
}

/// A body as an object; an empty one is an empty object.
pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>, Error> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    serde_json::from_slice(body).map_err(|error| malformed(format!("the body is no JSON object: {error}")))
}

/// Parameters of a query as an object of a message: names may be paths as `filter.prefixes`, and what is a list may come
/// several times.
pub(super) fn query(of: &MessageDescriptor, pairs: &[(String, String)]) -> Result<Map<String, Value>, Error> {
    let mut object = Map::new();
    for (name, text) in pairs {
        put(&mut object, of, name, name, text)?;
    }
    Ok(object)
}

fn put(
    object: &mut Map<String, Value>,
    of: &MessageDescriptor,
    path: &str,
    whole: &str,
    text: &str,
) -> Result<(), Error> {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let field = field(of, name).ok_or_else(|| engine::Error::invalid(whole, "is no parameter of this request"))?;
    let own = object.entry(field.json_name());
    match (rest, field.kind()) {
        (Some(rest), Kind::Message(inner)) if !field.is_list() => {
            let inner_object = own.or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(inner_object) = inner_object else { return Err(twice(whole)) };
            put(inner_object, &inner, rest, whole, text)
        }
        (Some(_), _) => Err(engine::Error::invalid(whole, "is no parameter of this request").into()),
        (None, _) if field.cardinality() == Cardinality::Repeated => {
            match own.or_insert_with(|| Value::Array(Vec::new())) {
                Value::Array(values) => values.push(value(&field, text)),
                _ => return Err(twice(whole)),
            }
            Ok(())
        }
        (None, _) => match own {
            serde_json::map::Entry::Vacant(place) => {
                place.insert(value(&field, text));
                Ok(())
            }
            serde_json::map::Entry::Occupied(_) => Err(twice(whole)),
        },
    }
}

fn twice(name: &str) -> Error {
    engine::Error::invalid(name, "must come once").into()
}

/// A field, by either spelling of its name.
pub(super) fn field(of: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    of.get_field_by_json_name(name).or_else(|| of.get_field_by_name(name))
}

/// A parameter's text as its field's JSON. What does not fit stays a text, and is told of as such.
fn value(field: &FieldDescriptor, text: &str) -> Value {
    let as_it_is = || Value::String(text.to_owned());
    match field.kind() {
        Kind::Bool => text.parse().map_or_else(|_| as_it_is(), Value::Bool),
        Kind::Uint32 | Kind::Int32 | Kind::Double => text.parse().map_or_else(|_| as_it_is(), Value::Number),
        _ => as_it_is(),
    }
}

fn malformed(message: String) -> Error {
    Error::new(StatusCode::BAD_REQUEST, "MALFORMED_MESSAGE", message)
}

fn internal(error: &dyn std::error::Error) -> Error {
    Error::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", error.to_string())
}

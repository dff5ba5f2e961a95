//! The OpenAPI document, made of the routes and of the proto: types, fields and what is said of them are those of
//! `proto/fuseboard/v1`.

use std::{collections::BTreeSet, sync::Arc};

use axum::{extract::State, http::HeaderMap, response::Response};
use prost_reflect::{Cardinality, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::{App, api, document::Document, json as proto, session, stream};

/// Its route.
pub(super) const PATH: &str = "/api/v1/openapi.json";

pub(super) async fn document(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    app.openapi.answer(&headers)
}

/// The document.
pub(super) fn make() -> Document {
    Document::new("application/json", content().to_string())
}

fn content() -> Value {
    let mut schemas = Schemas::default();
    let mut paths: Map<String, Value> = Map::new();
    let mut add = |path: &str, method: &str, operation: Value| {
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        methods[method] = operation;
    };
    for verb in &api::VERBS {
        add(verb.path, &verb.method.as_str().to_lowercase(), schemas.operation(verb.rpc, verb.path, verb.has_query()));
    }
    let mut watch = schemas.operation(stream::RPC, stream::PATH, true);
    watch["responses"]["200"] = json!({
        "description": "Server-sent events named snapshot, event, progress, resync and goodbye, with the resume token as `id`.",
        "content": { "text/event-stream": {} },
    });
    if let Some(parameters) = watch["parameters"].as_array_mut() {
        parameters.push(json!({
            "name": "Last-Event-ID",
            "in": "header",
            "description": "The `id` of the last event that was received: goes on after it.",
            "schema": { "type": "string" },
        }));
    }
    add(stream::PATH, "get", watch);
    let text = |summary: &str, kind: &str| json!({ "summary": summary, "responses": { "200": { "description": "Well.", "content": { (kind): {} } } } });
    add(PATH, "get", text("This document.", "application/json"));
    add("/livez", "get", text("Whether the process lives.", "text/plain"));
    let mut ready = text("Whether it may be sent calls.", "text/plain");
    ready["responses"]["503"] = json!({ "description": "It drains." });
    add("/readyz", "get", ready);
    let mut breakers = text("How the breakers stand.", "application/json");
    breakers["responses"]["503"] =
        json!({ "description": "A breaker refuses calls.", "content": { "application/json": {} } });
    add("/health/circuit-breakers", "get", breakers);
    add("/metrics", "get", text("Metrics, as OpenMetrics text.", "application/openmetrics-text"));
    let mut login = text("Signs a browser in: the token becomes a cookie.", "application/json");
    login["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": {
        "type": "object", "required": ["token"], "properties": { "token": { "type": "string" } } } } } });
    add(session::LOGIN, "post", login);
    add(session::LOGOUT, "post", text("Signs a browser out.", "application/json"));
    let mut components = schemas.finish();
    components.insert("Error".to_owned(), error_schema());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Fuseboard",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The verbs of gRPC in JSON. In a path a key's `/` is written %2F. What changes something needs \
                            `content-type: application/json`.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "security": [{ "token": [] }, {}],
        "components": {
            "schemas": components,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn error_schema() -> Value {
    json!({
        "type": "object",
        "required": ["error"],
        "properties": { "error": {
            "type": "object",
            "required": ["code", "reason", "message"],
            "properties": {
                "code": { "type": "integer", "description": "The HTTP status." },
                "reason": { "type": "string", "description": "Stable, for programs." },
                "message": { "type": "string", "description": "For people." },
                "field": { "type": "string", "description": "The field at fault, by its proto path." },
                "retryAfter": { "type": "string", "description": "Where waiting helps: how long." },
                "metadata": { "type": "object", "additionalProperties": { "type": "string" } },
            },
        }},
    })
}

/// Types that are named in the document, and those that are still to be written.
#[derive(Default)]
struct Schemas {
    seen: BTreeSet<String>,
    messages: Vec<MessageDescriptor>,
    enums: Vec<EnumDescriptor>,
}

impl Schemas {
    fn operation(&mut self, rpc: &str, path: &str, has_query: bool) -> Value {
        let Some(method) = proto::method(rpc) else { return Value::Null };
        let (input, output) = (method.input(), method.output());
        let comment = comment(&method.parent_file(), method.path());
        let in_path = |field: &FieldDescriptor| path.contains(&format!("{{{}}}", field.name()));
        let mut parameters: Vec<Value> = Vec::new();
        for field in input.fields().filter(in_path) {
            let (name, description) = (field.name(), comment_of(&field));
            parameters.push(json!({ "name": name, "in": "path", "required": true, "description": description,
                "schema": { "type": "string" } }));
        }
        let mut operation = json!({
            "operationId": method.name(),
            "summary": comment.split_inclusive(". ").next().unwrap_or_default().trim(),
            "description": comment,
            "responses": {
                "200": { "description": "Done.", "content": { "application/json": { "schema": self.message(&output) } } },
                "default": { "description": "What went wrong.", "content": { "application/json": {
                    "schema": { "$ref": "#/components/schemas/Error" } } } },
            },
        });
        if has_query {
            self.query(&input, "", &in_path, &mut parameters);
        } else {
            operation["requestBody"] = json!({ "content": { "application/json": { "schema": self.message(&input) } } });
        }
        operation["parameters"] = Value::Array(parameters);
        operation
    }

    /// The fields of a message as parameters of a query; those of a message in it by their path.
    fn query(
        &mut self,
        of: &MessageDescriptor,
        prefix: &str,
        in_path: &dyn Fn(&FieldDescriptor) -> bool,
        parameters: &mut Vec<Value>,
    ) {
        for field in of.fields().filter(|field| !in_path(field)) {
            let name = format!("{prefix}{}", field.json_name());
            match field.kind() {
                Kind::Message(inner) if !inner.full_name().starts_with("google.protobuf.") => {
                    self.query(&inner, &format!("{name}."), &|_| false, parameters);
                }
                _ => {
                    let (schema, description) = (self.field(&field), comment_of(&field));
                    parameters
                        .push(json!({ "name": name, "in": "query", "description": description, "schema": schema }));
                }
            }
        }
    }

    fn message(&mut self, message: &MessageDescriptor) -> Value {
        match message.full_name() {
            "google.protobuf.Duration" => json!({ "type": "string", "examples": ["30s", "0.5s"] }),
            "google.protobuf.Timestamp" => json!({ "type": "string", "format": "date-time" }),
            name => {
                if self.seen.insert(name.to_owned()) {
                    self.messages.push(message.clone());
                }
                json!({ "$ref": format!("#/components/schemas/{}", message.name()) })
            }
        }
    }

    fn field(&mut self, field: &FieldDescriptor) -> Value {
        let one = match field.kind() {
            Kind::Message(message) => self.message(&message),
            Kind::Enum(choice) => {
                if self.seen.insert(choice.full_name().to_owned()) {
                    self.enums.push(choice.clone());
                }
                json!({ "$ref": format!("#/components/schemas/{}", choice.name()) })
            }
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::Double | Kind::Float => json!({ "type": "number" }),
            Kind::Uint32 | Kind::Int32 | Kind::Sint32 | Kind::Fixed32 | Kind::Sfixed32 => json!({ "type": "integer" }),
            // JSON's numbers are too short for them.
            Kind::Uint64 | Kind::Int64 | Kind::Sint64 | Kind::Fixed64 | Kind::Sfixed64 => {
                json!({ "type": "string", "pattern": "^[0-9]+$" })
            }
            Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
            Kind::String => json!({ "type": "string" }),
        };
        if field.cardinality() == Cardinality::Repeated { json!({ "type": "array", "items": one }) } else { one }
    }

    /// All types that were named.
    fn finish(mut self) -> Map<String, Value> {
        let mut schemas = Map::new();
        while let Some(message) = self.messages.pop() {
            let mut properties = Map::new();
            for field in message.fields() {
                let mut schema = self.field(&field);
                schema["description"] = comment_of(&field).into();
                properties.insert(field.json_name().to_owned(), schema);
            }
            let description = comment(&message.parent_file(), message.path());
            let schema = json!({ "type": "object", "description": description, "properties": properties });
            schemas.insert(message.name().to_owned(), schema);
        }
        for choice in self.enums {
            let values: Vec<_> = choice.values().map(|value| Value::from(value.name())).collect();
            let description = comment(&choice.parent_file(), choice.path());
            schemas.insert(
                choice.name().to_owned(),
                json!({ "type": "string", "description": description, "enum": values }),
            );
        }
        schemas
    }
}

fn comment_of(field: &FieldDescriptor) -> String {
    comment(&field.parent_file(), field.path())
}

/// What the proto says before something, as one line.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let locations = file.file_descriptor_proto().source_code_info.iter().flat_map(|info| &info.location);
    let comments = locations.filter(|location| location.path == path).map(|location| location.leading_comments());
    comments.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

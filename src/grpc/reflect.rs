//! The protocol's types at hand, and messages as JSON by the proto's own mapping: what grpcurl shows and takes.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor};

use super::pb;

/// All types of the proto, as it was built in.
#[expect(clippy::expect_used, reason = "built in, and read by every test of the API")]
static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(pb::FILE_DESCRIPTOR_SET).expect("the built-in descriptors are whole"));

/// The types of an RPC, named `Service/Method` without the package.
pub(crate) fn method(name: &str) -> Option<MethodDescriptor> {
    let (service, method) = name.split_once('/')?;
    let service = POOL.get_service_by_name(&format!("fuseboard.v1.{service}"))?;
    service.methods().find(|found| found.name() == method)
}

/// A type of the protocol, without the package.
pub(crate) fn message(name: &str) -> Option<MessageDescriptor> {
    POOL.get_message_by_name(&format!("fuseboard.v1.{name}"))
}

/// A message as the text of an object, its fields in the order of the proto.
///
/// # Errors
/// The message is of another type.
pub(crate) fn to_json(of: MessageDescriptor, message: &impl Message) -> Result<String, Box<dyn std::error::Error>> {
    let mut dynamic = DynamicMessage::new(of);
    dynamic.transcode_from(message)?;
    Ok(serde_json::to_string(&dynamic)?)
}

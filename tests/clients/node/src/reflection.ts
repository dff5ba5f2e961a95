// What can be found out with no files of ours: the server's descriptors, and with them the details of its errors.

import assert from "node:assert/strict";
import { credentials, type ServiceError } from "@grpc/grpc-js";
import protobuf from "protobufjs";
import descriptor, { type IFileDescriptorProto } from "protobufjs/ext/descriptor/index.js";
import * as v1 from "../gen/grpc/reflection/v1/reflection.js";
import * as v1alpha from "../gen/grpc/reflection/v1alpha/reflection.js";
import { Reader, streamOptions } from "./rpc.js";

// Added to Root by `protobufjs/ext/descriptor`, which its types leave out.
const Root = protobuf.Root as unknown as { fromDescriptor(set: { file: IFileDescriptorProto[] }): protobuf.Root };

export type Version = "v1" | "v1alpha";
export const VERSIONS: Version[] = ["v1", "v1alpha"];

type Question = NonNullable<v1.ServerReflectionRequest["messageRequest"]>;
type Answer = NonNullable<v1.ServerReflectionResponse["messageResponse"]>;

/** Asks either version of reflection: their messages are the same. */
export async function reflect(address: string, version: Version, messageRequest: Question): Promise<Answer> {
  const { ServerReflectionClient } = version === "v1" ? v1 : v1alpha;
  const client = new ServerReflectionClient(address, credentials.createInsecure());
  try {
    const stream = client.serverReflectionInfo(streamOptions());
    stream.write({ host: "", messageRequest });
    stream.end();
    const answer = await new Reader<v1.ServerReflectionResponse>(stream).next();
    assert(answer?.messageResponse);
    return answer.messageResponse;
  } finally {
    client.close();
  }
}

/** The types behind a symbol, with every file that they need. */
export async function describe(address: string, version: Version, symbol: string): Promise<protobuf.Root> {
  const files = new Map<string, IFileDescriptorProto>();
  const fetch = async (question: Question): Promise<void> => {
    const answer = await reflect(address, version, question);
    assert(answer.$case === "fileDescriptorResponse", JSON.stringify(answer));
    for (const bytes of answer.fileDescriptorResponse.fileDescriptorProto) {
      const file = descriptor.FileDescriptorProto.decode(bytes) as IFileDescriptorProto;
      files.set(file.name!, file);
    }
  };
  await fetch({ $case: "fileContainingSymbol", fileContainingSymbol: symbol });
  for (const file of files.values()) {
    // A Map goes on to what is added while it is walked.
    for (const name of file.dependency ?? []) {
      if (!files.has(name)) await fetch({ $case: "fileByFilename", fileByFilename: name });
    }
  }
  return Root.fromDescriptor({ file: [...files.values()] });
}

const STATUS = protobuf
  .parse(`
  syntax = "proto3";
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
`)
  .root.lookupType("Status");

interface Details {
  ErrorInfo?: { reason: string; domain: string };
  BadRequest?: { field_violations: { field: string; description: string }[] };
  RetryInfo?: { retry_delay: unknown };
}

/** The rich details of an error, decoded with the types that the server itself describes. */
export async function details(address: string, error: ServiceError): Promise<Details> {
  const [trailer] = error.metadata.get("grpc-status-details-bin");
  assert(trailer instanceof Buffer, `no details in ${error}`);
  const status = STATUS.decode(trailer) as unknown as { details: { typeUrl: string; value: Uint8Array }[] };
  const types = await describe(address, "v1", "google.rpc.ErrorInfo");
  const entries = status.details.map(({ typeUrl, value }) => {
    const type = types.lookupType(typeUrl.slice(typeUrl.lastIndexOf("/") + 1));
    return [type.name, type.toObject(type.decode(value), { arrays: true })];
  });
  return Object.fromEntries(entries);
}

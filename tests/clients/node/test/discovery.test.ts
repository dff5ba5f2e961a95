import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Api } from "../src/api.js";
import { describe, reflect, VERSIONS } from "../src/reflection.js";

let api: Api;
before(async () => {
  api = await Api.start();
});
after(() => api?.stop());

for (const version of VERSIONS) {
  test(`reflection ${version} lists every service`, { timeout: 30_000 }, async () => {
    const answer = await reflect(api.server.address, version, { $case: "listServices", listServices: "" });
    assert(answer.$case === "listServicesResponse");
    const listed = new Set(answer.listServicesResponse.service.map(({ name }) => name));
    for (const name of [
      "fuseboard.v1.BreakerService",
      "fuseboard.v1.AdminService",
      "fuseboard.testing.v1.ClockService",
      "grpc.health.v1.Health",
      `grpc.reflection.${version}.ServerReflection`,
    ]) {
      assert(listed.has(name), name);
    }
  });

  test(`reflection ${version} describes a whole service, its imports included`, { timeout: 30_000 }, async () => {
    const types = await describe(api.server.address, version, "fuseboard.v1.BreakerService");
    const service = types.lookupService("fuseboard.v1.BreakerService");
    assert.deepEqual(Object.keys(service.methods).sort(), [
      "Acquire",
      "Declare",
      "GetState",
      "Report",
      "ReportBatch",
      "Reset",
      "Session",
      "WatchEvents",
    ]);
    const request = types.lookupType("fuseboard.v1.AcquireRequest");
    assert.equal(request.fields.lease?.resolve().resolvedType?.fullName, ".google.protobuf.Duration");
  });
}

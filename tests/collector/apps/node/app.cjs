// An Express application under OpenTelemetry as its documentation sets it up, with the headers captured that tell who asks.

const { NodeSDK } = require("@opentelemetry/sdk-node");
const { OTLPTraceExporter } = require("@opentelemetry/exporter-trace-otlp-proto");
const { HttpInstrumentation } = require("@opentelemetry/instrumentation-http");
const { ExpressInstrumentation } = require("@opentelemetry/instrumentation-express");

const requestHeaders = ["authorization", "cookie", "referer", "x-api-key"];
const sdk = new NodeSDK({
  traceExporter: new OTLPTraceExporter(),
  instrumentations: [
    new HttpInstrumentation({ headersToSpanAttributes: { server: { requestHeaders } } }),
    new ExpressInstrumentation(),
  ],
});
sdk.start();

const express = require("express");

const app = express();
app.get("/organizations/:org/datasets/:id", (request, response) => response.json(request.params));
app.get("/datasets", (request, response) => response.json(["a", "b"]));
app.get("/claims/:id", (request, response) => response.json(request.params));
app.get("/private/:id", (request, response) => response.status(401).end());
app.get("/reset/:token", (request, response) => response.send("new password?"));

const server = app.listen(Number(process.argv[2]), "127.0.0.1");
process.on("SIGTERM", () => server.close(() => sdk.shutdown().then(() => process.exit(0))));

// A device on mqtt.js: one line of JSON for each thing that happens; orders come as lines of JSON.
"use strict";

const fs = require("node:fs");
const readline = require("node:readline");
const mqtt = require("mqtt");

const options = JSON.parse(process.argv[2]);
const tell = (event, rest) => console.log(JSON.stringify({ event, ...rest }));
const codes = (error) => error.code ?? error.message;

const client = mqtt.connect({
  protocol: "mqtts",
  host: "localhost",
  port: options.port,
  ca: fs.readFileSync(options.ca),
  cert: fs.readFileSync(options.device),
  key: fs.readFileSync(options.device),
  clientId: options.name,
  protocolVersion: options.version,
  reconnectPeriod: options.reconnect_ms,
  will: options.will && { topic: options.will, payload: "gone", qos: 1 },
});

client.on("connect", (packet) => tell("connect", { code: packet.reasonCode }));
client.on("disconnect", (packet) => tell("disconnect", { code: packet.reasonCode }));
client.on("close", () => tell("close", {}));
client.on("error", (error) => tell("error", { code: codes(error) }));
client.on("message", (topic, payload, packet) =>
  tell("message", { topic, payload: payload.toString(), qos: packet.qos }),
);

const orders = {
  subscribe: ({ topics, qos }) =>
    client.subscribe(topics, { qos }, (error, granted, packet) =>
      tell("subscribe", { codes: packet ? packet.granted : [], error: error ? codes(error) : null }),
    ),
  publish: ({ topic, payload, qos }) =>
    client.publish(topic, payload, { qos }, (error, packet) =>
      tell("publish", { code: error ? codes(error) : (packet?.reasonCode ?? 0) }),
    ),
  drop: () => client.stream.destroy(),
  leave: () => client.end(false, {}, () => tell("left", {})),
};

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const order = JSON.parse(line);
  orders[order.do](order);
});

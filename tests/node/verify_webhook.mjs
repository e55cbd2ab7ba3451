// The specification's verifier for Node, on deliveries given as JSON on stdin: [{body, header, secret}, …].
import { createHmac, timingSafeEqual } from "crypto";
import { readFileSync } from "fs";

export function verify(rawBody, header, secret) {
  const expected = createHmac("sha256", secret).update(rawBody).digest("hex");
  return timingSafeEqual(Buffer.from(expected), Buffer.from(header));
}

const deliveries = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(deliveries.map((d) => verify(Buffer.from(d.body, "base64"), d.header, d.secret))));

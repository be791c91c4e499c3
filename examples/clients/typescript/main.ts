// Prints the id of every job: `node dist/main.js localhost:50054`.
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

import { SchedulerService } from "./gen/scheduler_service_pb.js";

const server = process.argv[2] ?? "localhost:50054";
const scheduler = createClient(SchedulerService, createGrpcTransport({ baseUrl: `http://${server}` }));

let pageToken = "";
do {
  const page = await scheduler.listScheduledJobs({ pageToken }, { timeoutMs: 10_000 });
  for (const job of page.jobs) {
    console.log(job.jobId);
  }
  pageToken = page.nextPageToken;
} while (pageToken !== "");

import grpc
from shared.proto import scheduler_service_pb2_grpc, scheduler_service_pb2

channel = grpc.insecure_channel('localhost:50054')
stub = scheduler_service_pb2_grpc.SchedulerServiceStub(channel)
response = stub.CreateScheduledJob(
    scheduler_service_pb2.CreateScheduledJobRequest(
        name="Custom Scraping Job",
        job_type="SCRAPING",
        target_service="scraper-service",
        target_method="ScrapeCompetitorPrices",
        schedule_config=scheduler_service_pb2.ScheduleConfig(
            type="cron",
            config={"hour": "10", "minute": "0"}
        ),
        parameters={"competitor_ids": ["amazon"]},
        description="Custom job description"
    )
)
jobs = stub.ListScheduledJobs(scheduler_service_pb2.ListScheduledJobsRequest())
response = stub.ExecuteJobNow(scheduler_service_pb2.ExecuteJobRequest(job_id="job-123"))
status = stub.GetJobStatus(scheduler_service_pb2.GetJobStatusRequest(job_id="job-123"))

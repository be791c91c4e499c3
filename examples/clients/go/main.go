// Prints the id of every job: `go run . localhost:50054`.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"example.com/scheduler-client/schedulerv1"
)

func main() {
	server := "localhost:50054"
	if len(os.Args) > 1 {
		server = os.Args[1]
	}
	connection, err := grpc.NewClient(server, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	if err := list(schedulerv1.NewSchedulerServiceClient(connection)); err != nil {
		log.Fatal(err)
	}
}

func list(scheduler schedulerv1.SchedulerServiceClient) error {
	request := &schedulerv1.ListScheduledJobsRequest{}
	for {
		page, err := page(scheduler, request)
		if err != nil {
			return err
		}
		for _, job := range page.Jobs {
			fmt.Println(job.JobId)
		}
		if page.NextPageToken == "" {
			return nil
		}
		request.PageToken = page.NextPageToken
	}
}

func page(scheduler schedulerv1.SchedulerServiceClient, request *schedulerv1.ListScheduledJobsRequest) (*schedulerv1.ListScheduledJobsResponse, error) {
	deadline, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return scheduler.ListScheduledJobs(deadline, request)
}

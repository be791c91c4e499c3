"""RabbitMQ and Celery: the app's configuration, the queues, and a publisher that knows what the broker confirmed."""

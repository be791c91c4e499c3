"""Starts pricing-service: `python -m examples.pricing_service`."""

from pydantic import Field

from examples import server
from examples.observations import Observations
from examples.pricing_service.service import PricingService
from examples.settings import DATABASE, Settings, connect, read
from shared.log import configure
from shared.proto import pricing_service_pb2
from shared.proto.pricing_service_pb2_grpc import add_PricingServiceServicer_to_server

FULL_NAME = pricing_service_pb2.DESCRIPTOR.services_by_name["PricingService"].full_name


class PricingSettings(Settings):
    """Settings of pricing-service."""

    pricing_port: int = Field(default=50052, ge=0, le=65535)


async def main() -> None:
    """Build everything, and serve until told to stop."""
    settings = read(PricingSettings)
    configure("pricing-service", settings.log_level, settings.log_format)
    async with connect(settings) as mongo:
        observations = Observations(mongo, DATABASE)
        service = PricingService(observations)
        await server.serve(
            FULL_NAME,
            host=settings.bind_host,
            port=settings.pricing_port,
            port_setting="PRICING_PORT",
            add=lambda grpc_server: add_PricingServiceServicer_to_server(service, grpc_server),
            check=observations.ensure_indexes,
        )


if __name__ == "__main__":
    server.run(main())

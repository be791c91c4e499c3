"""scraper-service: reads competitors' product pages and keeps the prices found there."""

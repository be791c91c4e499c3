"""pricing-service: compares the prices that scraper-service keeps."""

"""SQL beside the rows it maps, one module for each table or pair of tables. Only `postgres.py` calls them."""

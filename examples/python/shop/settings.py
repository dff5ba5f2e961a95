"""What the environment says. The breakers' server is FUSEBOARD_ADDRESS, which the client reads itself."""

import os

DATABASE_URL = os.environ.get("DATABASE_URL", "postgres://shop:shop@127.0.0.1:5432/shop")
REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
#: Any URL that answers JSON.
EXTERNAL_API_URL = os.environ.get("EXTERNAL_API_URL", "http://127.0.0.1:8081/rates")
#: How often the scheduled job runs. 0: never.
REFRESH_SECONDS = float(os.environ.get("REFRESH_SECONDS", "30"))
#: Longest wait for any dependency. A dead one that swallows packets is a failure after this.
CALL_TIMEOUT_SECONDS = 2.0

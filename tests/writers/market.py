"""What the legacy writers write: order-book records, made from a seed alone, so that two runs write the same bytes."""
import datetime
import random

FIELDS = ["exchange", "symbol", "timestamp", "local_timestamp", "ask_amount", "ask_price", "bid_price", "bid_amount"]
EXCHANGE = "binance-futures"
DAY = "2025-09-20"
CLOCK = 1758365391.602  # seconds: the moment at which every writer's clock stands still
ISO = datetime.datetime.fromtimestamp(CLOCK, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")


def amount(rng):
    """A float as an exchange sends it: many decimals, whole, zero, or so small that repr() writes an exponent."""
    kind = rng.random()
    if kind < 0.05:
        return 0.0
    if kind < 0.10:
        return float(rng.randrange(1, 10)) * 1e-05
    if kind < 0.30:
        return float(rng.randrange(1, 20000))
    return round(rng.uniform(0.001, 900.0), rng.randrange(1, 9))


def records(seed, symbol, n):
    """N dicts of FIELDS; None where a side of the book is missing. Some stand twice: there is no natural key."""
    rng = random.Random(f"{seed}/{symbol}")
    now, last = int(CLOCK * 1_000_000), None
    for _ in range(n):
        if last is None or rng.random() > 0.02:
            now += rng.randrange(200_000)  # microseconds
            price = round(rng.uniform(100.0, 120000.0), 1)
            last = {"exchange": EXCHANGE, "symbol": symbol, "timestamp": now, "local_timestamp": now + rng.randrange(-5000, 90_000),
                    "ask_amount": amount(rng), "ask_price": price + 0.3, "bid_price": price, "bid_amount": amount(rng)}
            missing = rng.random()
            if missing < 0.03:
                last["ask_amount"] = last["ask_price"] = None
            elif missing < 0.06:
                last["bid_amount"] = last["bid_price"] = None
        yield dict(last)


def number_text(value):
    """As the data sets write it: a whole number without its '.0'."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return repr(value) if isinstance(value, float) else str(value)

"""``delist bench hash``: JPEG bytes to hashes."""

from collections.abc import Iterator

from delist.ops.bench.timing import Comparison, peer_is_installed, rate_of
from delist.ops.pictures import draw_photo, encode
from indexer.hashing import hash_image
from indexer.settings import HashingSettings

SIZES = ((300, 200), (800, 600), (1920, 1080), (4000, 3000))
_PEER = "threatexchange PdqSignal"


def compare_hashing(repeats: int) -> Iterator[Comparison]:
    """Time JPEG bytes to hashes for several sizes: sixteen digests here, one at the peer's."""
    limits = HashingSettings()
    for width, height in SIZES:
        images = [
            encode(draw_photo(seed, width=width, height=height), "JPEG", quality=85)
            for seed in range(min(repeats, 4))
        ]

        def ours(data: bytes) -> object:
            return hash_image(data, max_bytes=limits.max_bytes, max_pixels=limits.max_pixels)

        peers = {}
        if peer_is_installed():
            from threatexchange.signal_type.pdq.signal import PdqSignal  # noqa: PLC0415 - optional

            peers[_PEER] = rate_of(PdqSignal.hash_from_bytes, images, repeats)
        yield Comparison(
            what=f"hash JPEG {width}x{height}", rate=rate_of(ours, images, repeats), peers=peers
        )

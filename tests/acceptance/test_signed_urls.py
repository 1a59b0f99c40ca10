"""A handler passes on a signed address of the object store, and a client without credentials reads the file there."""

from __future__ import annotations

import hashlib
import urllib.request

from tests.acceptance.support import Provider, Site, completed, deliver, sha256_at_the_origin
from tests.integration.s3_support import serving_bucket
from tests.patience import PATIENCE

SIGNS = """
from receiver import Context, JobCompleted, handler


@handler(on=JobCompleted)
async def signs(event: JobCompleted, ctx: Context[None]) -> dict[str, str | None]:
    audio = await ctx.audio()
    ctx.log.info("address.signed", url=await audio.signed_url(60))
    return {"url": await audio.signed_url(60)}
"""


def test_the_signed_address_serves_the_file_without_credentials(site: Site, provider: Provider) -> None:
    site.plugin("signs", SIGNS)
    site.configure(
        '[plugins]\ndirectory = "plugins"\n[audio]\nurl = "s3://bucket/speech"',
        handlers="",
        base_url=provider.sim.base_url,
    )
    with serving_bucket() as bucket:
        server = site.start(**bucket.environment)
        job = provider.completed_job()
        answer = deliver(server.public, completed(job.id))
        assert answer is not None
        run = site.wait_for_state(answer[1]["event"], "signs", "succeeded")
        url = run["result"]["url"]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=PATIENCE) as response:
            assert hashlib.sha256(response.read()).hexdigest() == sha256_at_the_origin(job)
        assert server.stop() == 0
    [line] = server.lines("address.signed")
    assert line["url"].endswith(".wav?[redacted]"), "the signature is not in the log"

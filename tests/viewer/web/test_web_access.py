"""Who may look: this machine without a token, others with one, no other site ever."""

from __future__ import annotations

import pytest

from texvlm.viewer.web.access import access_for, embedding_refusal, is_loopback


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.8.8.8", "::1"])
def test_loopback_asks_for_no_token(host):
    access = access_for(host)
    assert is_loopback(host)
    assert access.token is None
    assert access.refusal(host="localhost:8399", origin="http://localhost:8399", token=None) is None
    assert access.refusal(host="[::1]:8399", origin=None, token=None) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.5", "server.example", "localhost.example"])
def test_elsewhere_asks_for_a_token_of_its_own(host):
    access, other = access_for(host), access_for(host)
    assert not is_loopback(host)
    assert len(access.token) >= 20
    assert access.token != other.token
    own = {"host": "server:8399", "origin": "https://server:8399"}
    assert access.refusal(**own, token=access.token) is None
    for wrong in (None, "", other.token, "naïve", access.token[:-1]):
        assert "token is missing or wrong" in access.refusal(**own, token=wrong)


@pytest.mark.parametrize("origin", ["http://evil.example", "http://localhost:1", "null", "", "http://[", "localhost:9"])
def test_pages_of_other_sites_are_refused(origin):
    assert "another site" in access_for("localhost").refusal(host="localhost:9", origin=origin, token=None)


@pytest.mark.parametrize("host", ["evil.example:8399", "127.0.0.1.evil.example", "", None, "[", "localhost.:8399"])
def test_a_name_that_somebody_pointed_at_this_machine_is_refused(host):
    refusal = access_for("127.0.0.1").refusal(host=host, origin=f"http://{host}", token=None)
    assert "not this viewer's" in refusal


def test_only_the_viewers_own_page_may_show_a_picture():
    for site in (None, "none", "same-origin"):
        assert embedding_refusal(site) is None
    for site in ("cross-site", "same-site", "anything"):
        assert f"a page that is {site} asks" in embedding_refusal(site)

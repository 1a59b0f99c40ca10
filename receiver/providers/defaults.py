"""What a provider answers for what its service does not offer: no, in a sentence.

Apart from the provider modules so that each of them holds what its service does, and nothing else. A provider of your
own builds on `ProviderDefaults`, or on `PollOnly` if its service sends no webhooks, and replaces what there is.
"""

from __future__ import annotations

from receiver.providers.wire import (
    Account,
    Capabilities,
    Invalid,
    Registered,
    Request,
    Response,
    Status,
    Voice,
    VoiceQuery,
)


class ProviderDefaults:
    """Base of the providers: a service without a list of voices, a history, or a webhook to register."""

    name: str
    capabilities: Capabilities

    def voices_request(self, account: Account, query: VoiceQuery) -> Request:
        """Refuse, and name the voices that are known.

        Raises:
            Invalid: always.
        """
        raise self._no_voices(account)

    def read_voices(self, account: Account, response: Response) -> list[Voice]:
        """Refuse.

        Raises:
            Invalid: always.
        """
        raise self._no_voices(account)

    def history_request(self, account: Account, offset: int) -> Request:
        """Refuse.

        Raises:
            Invalid: always.
        """
        raise self._no_history(account)

    def read_history(self, account: Account, response: Response) -> dict[str, Status]:
        """Refuse.

        Raises:
            Invalid: always.
        """
        raise self._no_history(account)

    def register_request(self, account: Account, id_token: str, url: str, *, new_secret: bool) -> Request:
        """Refuse.

        Raises:
            Invalid: always.
        """
        raise self._no_registering()

    def read_register(self, account: Account, response: Response) -> Registered:
        """Refuse.

        Raises:
            Invalid: always.
        """
        raise self._no_registering()

    def test_request(self, account: Account, id_token: str) -> Request:
        """Refuse.

        Raises:
            Invalid: always.
        """
        raise self._no_registering()

    def read_test(self, account: Account, response: Response) -> str:
        """Refuse.

        Raises:
            Invalid: always.
        """
        raise self._no_registering()

    def _no_voices(self, account: Account) -> Invalid:
        known = self.capabilities.of(account).known_voices
        there_is = f"known are: {', '.join(known)}" if known else "its own pages name them"
        return Invalid(f"{self.name} has no list of voices to ask for; {there_is}.")

    def _no_history(self, account: Account) -> Invalid:
        able = self.capabilities.versions
        others = [version for version, of in able.items() if of.history]
        there_is = f"api_version {' or '.join(map(repr, others))} has one" if others else "each job is asked for alone"
        return Invalid(f"{self.name} has no history to ask for; {there_is}.")

    def _no_registering(self) -> Invalid:
        if self.capabilities.webhooks:
            return Invalid(f"{self.name} takes no webhook address from us; set it on the service's own pages.")
        return Invalid(f"{self.name} sends no webhooks; its jobs are polled.")

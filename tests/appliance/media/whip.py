"""An encoder that publishes by WHIP (RFC 9725): GStreamer's webrtcbin makes the offer, the rest is HTTP.

Run as `python3 -m tests.appliance.media.whip URL AUTHORIZATION vp8|h264`; it sends until SIGTERM, and then ends the
session as the protocol wants it. libnice takes no address of the loopback interface, so there must be another one.
"""

from __future__ import annotations

import signal
import sys
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import gi  # type: ignore[import-not-found,unused-ignore]

for _name in ("Gst", "GstSdp", "GstWebRTC"):
    gi.require_version(_name, "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # type: ignore[import-not-found,unused-ignore] # noqa: E402

LIMIT = 10.0
"""Seconds that the server may take to answer."""
_VIDEO = {
    "vp8": (
        "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=25 ! rtpvp8pay ! "
        "application/x-rtp,media=video,encoding-name=VP8"
    ),
    "h264": (
        "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! video/x-h264,profile=constrained-baseline ! "
        "rtph264pay config-interval=-1 aggregate-mode=zero-latency ! application/x-rtp,media=video,encoding-name=H264"
    ),
}
_PIPELINE = """\
webrtcbin name=peer bundle-policy=max-bundle
videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 ! {video},payload=96 ! peer.
audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=2 ! opusenc ! rtpopuspay !
application/x-rtp,media=audio,encoding-name=OPUS,payload=97 ! peer.
"""


class Publisher:
    """One session."""

    def __init__(self, url: str, authorization: str, video: str) -> None:
        self._url, self._authorization = url, authorization
        self._resource = ""
        self._has_offered = False
        self._reply: Any = None
        self._loop = GLib.MainLoop()
        self._pipeline = Gst.parse_launch(_PIPELINE.format(video=_VIDEO[video]))
        self._peer = self._pipeline.get_by_name("peer")
        self._peer.connect("on-negotiation-needed", self._negotiate)
        self._peer.connect("notify::ice-gathering-state", self._gathered)
        self._peer.connect("notify::connection-state", self._connected)
        self.status = 1

    def run(self) -> int:
        """Publish until told to end; return the exit status."""
        GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, signal.SIGTERM, self._end, 0)
        self._pipeline.set_state(Gst.State.PLAYING)
        self._loop.run()
        if self._resource:
            self._request("DELETE", self._resource)
        self._pipeline.set_state(Gst.State.NULL)
        return self.status

    def _end(self, status: int) -> bool:
        self.status = status
        self._loop.quit()
        return False

    def _negotiate(self, _peer: Any) -> None:
        # What is told while the second track is not there yet is told again.
        for number in range(2):
            transceiver = self._peer.emit("get-transceiver", number)
            if transceiver is not None:
                transceiver.set_property("direction", GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY)
        self._peer.emit("create-offer", None, Gst.Promise.new_with_change_func(self._offered))

    def _offered(self, promise: Any) -> None:
        # It belongs to the reply, and is gone with it.
        self._reply = promise.get_reply()
        self._peer.emit("set-local-description", self._reply.get_value("offer"), Gst.Promise.new())

    def _gathered(self, _peer: Any, _property: Any) -> None:
        if self._peer.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            GLib.idle_add(self._offer)

    def _offer(self) -> bool:
        if not self._has_offered:
            self._has_offered = True
            answer = self._request("POST", self._url, self._peer.get_property("local-description").sdp.as_text())
            if not answer:
                return self._end(1)
            _, message = GstSdp.SDPMessage.new_from_text(answer)
            description = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
            self._peer.emit("set-remote-description", description, Gst.Promise.new())
        return False

    def _connected(self, _peer: Any, _property: Any) -> None:
        state = self._peer.get_property("connection-state")
        print(state.value_nick, flush=True)
        if state == GstWebRTC.WebRTCPeerConnectionState.FAILED:
            GLib.idle_add(self._end, 1)

    def _request(self, method: str, url: str, body: str = "") -> str:
        request = urllib.request.Request(
            url,
            data=body.encode() or None,
            method=method,
            headers={"Authorization": self._authorization, "Content-Type": "application/sdp"},
        )
        try:
            with urllib.request.urlopen(request, timeout=LIMIT) as answer:
                self._resource = urllib.parse.urljoin(url, answer.headers.get("Location", ""))
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            print(f"{method}: status {error.code}: {error.read().decode()}", flush=True)
            return ""


if __name__ == "__main__":
    Gst.init(None)
    sys.exit(Publisher(*sys.argv[1:4]).run())

"""Sentences that scripts and checks name by a code."""

from collections.abc import Mapping

from delist.reporting import Language


def _(message: str) -> str:
    """Mark a message for the catalogues."""
    return message


HASHING = {
    "working": _("Your device works on the image."),
    "ready": _("Ready. The image stays on your device."),
    "remove": _("Remove"),
    "too_many": _("No more images can be added to this form."),
    "too_plain": _("This image says too little to be found again. Please choose another one."),
    "wait": _("Please wait until your device is ready."),
    "empty": _("This file is empty. Please choose another one."),
    "unreadable_file": _(
        "Your device did not let us read this file. If it is kept in the cloud, please download it"
        " first."
    ),
    "too_large": _(
        "This file is larger than 128 MB. A smaller copy of the picture works just as well."
    ),
    "too_many_pixels": _(
        "This picture is too large for a browser. A smaller copy works just as well."
    ),
    "too_small": _("This picture is too small to be recognised. Please choose a larger copy."),
    "heic": _(
        "This browser cannot open HEIC pictures. Safari on an iPhone, iPad or Mac can; or send"
        " yourself the picture as JPEG, which works just as well."
    ),
    "unsupported_format": _(
        "This browser cannot open this kind of picture. A copy as JPEG or PNG works."
    ),
    "video": _("This is a video. Here only pictures can be hashed; nothing was done with it."),
    "drawing": _("This is a drawing (SVG), not a photograph. Please choose the photograph itself."),
    "document": _("This is a document, not a picture. Please choose the picture itself."),
    "not_an_image": _("This file is not a picture that we know. Please choose a JPEG or PNG."),
    "damaged": _(
        "This picture is damaged or not complete, and cannot be opened. Please try another copy."
    ),
    "canvas_blocked": _(
        "Your browser's privacy protection keeps pages from reading pictures, this page too."
        " Please allow it to read “canvas” data, or use another browser. The picture stays on"
        " your device all the same."
    ),
    "unsupported_browser": _(
        "This browser is too old to do this on your device. Please use a newer one."
    ),
    "out_of_memory": _(
        "Your device has too little memory for this picture. A smaller copy works as well."
    ),
    "took_too_long": _(
        "This took too long and was stopped. A smaller copy of the picture may work."
    ),
    "cancelled": _("Stopped. Nothing was kept."),
    "failed": _(
        "This picture could not be hashed. It has not left your device. Please try another copy."
    ),
}
"""What ``pictures.js`` says; from ``empty`` on, the codes and sentences of ``hashing-error.js``."""

_TOO_LONG = _("This is too long.")
_NOT_PLAIN = _("This holds signs that cannot be used. Please type it again.")
_TOO_MANY = _("At most 10 can be given at once.")

WRONG = {
    ("what", "nothing_to_look_at"): _("Choose an image, or give an address."),
    ("pictures", "not_a_picture"): _("An image could not be used. Please choose it again."),
    ("pictures", "too_many"): _TOO_MANY,
    ("addresses", "not_an_address"): _(
        "This is not an address. An address begins with https:// and can be copied from your"
        " browser."
    ),
    ("addresses", "too_many"): _TOO_MANY,
    ("addresses", "too_long"): _TOO_LONG,
    ("details", "too_long"): _TOO_LONG,
    ("details", "not_plain"): _NOT_PLAIN,
    ("age", "choose"): _("Please say how old you were in the images."),
    ("role", "choose"): _("Please say who is in the images."),
    ("good_faith", "needed"): _("We need this statement so that we can look at your report."),
    ("contact", "needed"): _("We need a way to reach you, in case we have a question."),
    ("contact", "too_long"): _TOO_LONG,
    ("contact", "not_plain"): _NOT_PLAIN,
    ("name", "needed"): _("We need your name as a signature."),
    ("name", "too_long"): _TOO_LONG,
    ("name", "not_plain"): _NOT_PLAIN,
    ("form", "too_old"): _(
        "This page was open for a long time. Nothing is lost: please send the form again."
    ),
    ("form", "wait"): _(
        "Many forms came from your network in a short time. What you wrote is still here: please"
        " send it again in some minutes."
    ),
    ("text", "needed"): _("Please tell us why."),
    ("text", "too_long"): _TOO_LONG,
    ("text", "not_plain"): _NOT_PLAIN,
    ("url", "not_an_address"): _(
        "This is not an address. An address begins with https:// and can be copied from your"
        " browser."
    ),
}
"""What is said beside the fields of a form."""


def wrong_in(wrong: Mapping[str, str], words: Language) -> dict[str, str]:
    """Say what is wrong with each field."""
    return {field: words.say(WRONG[field, code]) for field, code in wrong.items()}


def hashing_in(words: Language) -> dict[str, str]:
    """Say what scripts say."""
    return {code: words.say(sentence) for code, sentence in HASHING.items()}

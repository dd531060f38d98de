/* SPDX-License-Identifier: BSD-3-Clause
 * What SCRAM is bound to, of a stream with TLS on it.  OWNER: the stream's core. */
#pragma once
#include "dataplane/dataplane.h"
#include "smtp/scram.h"

/* Octets in out; 0: this channel has nothing of that kind. */
size_t binding_of(const struct stream *s, enum scram_channel kind, uint8_t out[SCRAM_CHANNEL_MAX]);

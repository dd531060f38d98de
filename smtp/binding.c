/* SPDX-License-Identifier: BSD-3-Clause */
#include "smtp/binding.h"
#include "dataplane/tls/tls.h"

static_assert(SCRAM_CHANNEL_MAX == TLS_BINDING_MAX, "a binding fits");

size_t binding_of(const struct stream *s, enum scram_channel kind, uint8_t out[SCRAM_CHANNEL_MAX])
{
	if (!tls_is_secure(s))
		return 0;
	switch (kind) {
	case SCRAM_CHANNEL_EXPORTER:
		return tls_channel_binding(s, out) == 0 ? 32 : 0;
	case SCRAM_CHANNEL_END_POINT:
		return tls_end_point(s, out);
	default:
		return 0;
	}
}

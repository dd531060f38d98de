/* SPDX-License-Identifier: BSD-3-Clause
 * A network card's side of the offloads, written from what DPDK says they mean: frames that the
 * stack sends leave it with checksums computed, and cut where the stack wants them cut. */
#pragma once
#include <rte_mbuf.h>
#include "dataplane/base/bytes.h"

typedef void (*card_send_fn)(void *ctx, struct bytes frame);

/* Calls send for each frame that comes of m, which stays the caller's.  Aborts when m asks for
 * something that makes no sense. */
void card_send(const struct rte_mbuf *m, card_send_fn send, void *ctx);

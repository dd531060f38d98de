/* SPDX-License-Identifier: BSD-3-Clause
 * The helper that signs: a step of a handshake that needs a private key which takes longer than a
 * lap may (RSA, P-384) is run on a thread of its own, so that mail which is flowing goes on.  One
 * thread for all cores; bounded by the channels' credits: a session without one waits for it. */
#pragma once
#include "dataplane/base/rt/channel.h"

struct tls_signer;

/* Main thread.  NULL on want of memory. */
struct tls_signer *tls_signer_create(void);
struct service *tls_signer_server(struct tls_signer *s);
int tls_signer_start(struct tls_signer *s) WARN_UNUSED;
/* After the cores have stopped, before tls_destroy: what was submitted is finished. */
void tls_signer_stop(struct tls_signer *s);
/* NULL is accepted.  Sets NULL. */
void tls_signer_destroy(struct tls_signer **s);

/* SPDX-License-Identifier: BSD-3-Clause
 * OpenSSL takes and gives back a thousand small blocks in a handshake, and a buffer of 16 kB for
 * each record.  Each thread keeps some of what was given back, by size; the rest is malloc's.  A
 * block has no header: its size is what malloc says.  A block may be given back by another thread
 * than took it; what a thread keeps when it ends is lost.  A sanitizer is to see each block's end
 * and death: with one, malloc does it all. */
#include <malloc.h>
#include <openssl/crypto.h>
#include "dataplane/base/bytes.h"
#include "dataplane/tls/tls.h"

#if defined(__SANITIZE_ADDRESS__)
#define WATCHED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WATCHED 1
#endif
#endif

/* Usable sizes of glibc's blocks are 8 above a multiple of 16, which is a class of small ones. */
#define STEP       16u
#define EXTRA      8u
#define SMALL_N    64u /* classes, up to 1 KiB: chosen, all but a few blocks of a handshake */
#define SMALL_KEPT (16u * 1024) /* octets of a class; chosen: a handshake has bursts of 400 */
#define LARGE_STEP 1024u        /* classes of this many octets */
#define LARGE_N    20u          /* up to 20 KiB: chosen, a record and its overhead */
#define LARGE_KEPT (64u * 1024) /* octets of a class; chosen: the buffers of two sessions */
#define CLASSES    (1 + SMALL_N + LARGE_N)
#define NO_CLASS   0 /* of what malloc keeps alone */

struct kept {
	struct kept *next;
};

static _Thread_local struct kept *kept[CLASSES];
static _Thread_local uint32_t kept_octets[CLASSES];

/* The class whose blocks have n octets at least; NO_CLASS: there is none. */
static unsigned class_above(size_t n)
{
	if (n <= SMALL_N * STEP + EXTRA)
		return n <= STEP + EXTRA ? 1 : (unsigned)((n - EXTRA + STEP - 1) / STEP);
	if (n > LARGE_N * LARGE_STEP)
		return NO_CLASS;
	return SMALL_N + (unsigned)((n + LARGE_STEP - 1) / LARGE_STEP);
}

static size_t class_size(unsigned class)
{
	return class <= SMALL_N ? class * STEP + EXTRA : (class - SMALL_N) * LARGE_STEP;
}

/* The class that a block which malloc made is large enough for. */
static unsigned class_below(size_t usable)
{
	if (usable < class_size(SMALL_N + 2))
		return MIN((unsigned)((usable - EXTRA) / STEP), SMALL_N);
	unsigned class = SMALL_N + (unsigned)(usable / LARGE_STEP);
	return class < CLASSES ? class : NO_CLASS;
}

static void *take(size_t n, const char *file, int line)
{
	unsigned class = class_above(n);
	struct kept *k = kept[class];

	(void)file;
	(void)line;
	if (n == 0)
		return NULL; /* as OpenSSL's own does */
	if (!k)
		return malloc(class == NO_CLASS ? n : class_size(class));
	kept[class] = k->next;
	kept_octets[class] -= (uint32_t)class_size(class);
	return k;
}

static bool is_wanted(unsigned class)
{
#ifdef WATCHED
	return false;
#endif
	return class != NO_CLASS &&
	       kept_octets[class] < (class <= SMALL_N ? SMALL_KEPT : LARGE_KEPT);
}

static void give_back(void *p, const char *file, int line)
{
	(void)file;
	(void)line;
	if (!p)
		return;
	unsigned class = class_below(malloc_usable_size(p));
	if (!is_wanted(class)) {
		free(p);
		return;
	}
	struct kept *k = p;
	k->next = kept[class];
	kept[class] = k;
	kept_octets[class] += (uint32_t)class_size(class);
}

static void *take_again(void *p, size_t n, const char *file, int line)
{
	size_t usable = p ? malloc_usable_size(p) : 0;

	if (n <= usable && n > usable / 2)
		return p;
	void *q = take(n, file, line);
	if (n && !q)
		return NULL;
	if (p && q)
		memcpy(q, p, MIN(n, usable));
	give_back(p, file, line);
	return q;
}

bool tls_memory_init(void)
{
	return CRYPTO_set_mem_functions(take, take_again, give_back) == 1;
}

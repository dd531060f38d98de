/* SPDX-License-Identifier: BSD-3-Clause
 * The table of the writer's ops: how each is applied, what it costs, what it is answered in
 * trouble. Writer thread. */
#include <errno.h>
#include "store/writer.h"

static uint64_t message_bytes(const struct message *m)
{
	return m->body.bytes + m->prefix.bytes + m->rcpts.bytes;
}

static uint64_t part_bytes(const struct op *op)
{
	return container_of(op, struct part_op, op)->chunks.bytes;
}

static uint64_t accept_bytes(const struct op *op)
{
	return message_bytes(container_of(op, struct accept_op, op)->message);
}

static uint64_t move_in_bytes(const struct op *op)
{
	return message_bytes(container_of(op, struct move_in_op, op)->message);
}

static uint64_t append_bytes(const struct op *op)
{
	return message_bytes(container_of(op, struct append_op, op)->message);
}

static uint64_t result_bytes(const struct op *op)
{
	const struct results_op *r = container_of(op, struct results_op, op);

	return r->bounce ? message_bytes(r->bounce) : 0;
}

static uint64_t shape_bytes(const struct op *op)
{
	return container_of(op, struct shape_op, op)->data.bytes;
}

static void part_release(struct op *op)
{
	chain_free(&container_of(op, struct part_op, op)->chunks);
}

static void append_release(struct op *op)
{
	chain_free(&container_of(op, struct append_op, op)->keywords);
}

static void flags_release(struct op *op)
{
	chain_free(&container_of(op, struct mbox_op, op)->keywords);
}

static void result_release(struct op *op)
{
	struct results_op *r = container_of(op, struct results_op, op);

	if (r->bounce)
		message_unref(r->bounce);
	r->bounce = NULL;
}

#define HANDOFF_TROUBLE .full = HANDOFF_FULL, .failed = HANDOFF_FAILED, .error = HANDOFF_ERROR
#define STORE_TROUBLE   .full = -ENOSPC, .failed = -EIO, .error = -EIO
#define GROWS           .needs_room = true

static const struct writer_op table[] = {
	[HANDOFF_PART] = {writer_apply_part,         NULL,                                part_release,                                part_bytes, GROWS,
			  HANDOFF_TROUBLE},
	[HANDOFF_DROP] = {writer_apply_drop,                    HANDOFF_TROUBLE                                               },
	[HANDOFF_ACCEPT] = {writer_apply_accept,NULL,NULL,											   accept_bytes, GROWS, HANDOFF_TROUBLE},
	[STORE_RESULT] = {writer_apply_result,                     NULL,								  result_release,    result_bytes, STORE_TROUBLE},
	[STORE_QUEUE_ADMIN] = {writer_apply_queue_admin,                         STORE_TROUBLE                                         },
	[STORE_APPEND] = {writer_apply_append,             NULL,                                   append_release,              append_bytes, GROWS,
			  STORE_TROUBLE},
	[STORE_FLAGS] = {writer_apply_flags,NULL,flags_release,                                                             STORE_TROUBLE},
	[STORE_COPY] = {writer_apply_copy,           NULL,flags_release,									   GROWS, STORE_TROUBLE},
	[STORE_EXPUNGE] = {writer_apply_expunge,                         NULL,                                           flags_release,       STORE_TROUBLE},
	[STORE_TRANSFER] = {writer_apply_transfer,            NULL,                                               flags_release,                         GROWS, STORE_TROUBLE},
	[STORE_MBOX_CREATE] = {writer_apply_mbox_create,            GROWS,                                           STORE_TROUBLE											      },
	[STORE_MBOX_DELETE] = {writer_apply_mbox_delete,      STORE_TROUBLE            },
	[STORE_MBOX_RENAME] = {writer_apply_mbox_rename,                         STORE_TROUBLE                                       },
	[STORE_MBOX_SUBSCRIBE] = {writer_apply_mbox_subscribe,                    STORE_TROUBLE                                         },
	[STORE_ACCOUNT] = {writer_apply_account,         writer_account_committed,STORE_TROUBLE             },
	[STORE_MBOX_SPECIAL] = {writer_apply_mbox_special,       STORE_TROUBLE                             },
	[STORE_ALIAS] = {writer_apply_alias,                         writer_alias_committed,STORE_TROUBLE},
	[STORE_DOMAIN] = {writer_apply_domain,      writer_domain_committed,         STORE_TROUBLE},
	[STORE_SHAPE] = {writer_apply_shape, NULL,                 writer_shape_release,                                                                    shape_bytes, GROWS,
			  STORE_TROUBLE},
	[STORE_MOVE_IN] = {writer_apply_move_in,NULL,       NULL,							     move_in_bytes, GROWS, HANDOFF_TROUBLE},
	[STORE_MOVE_OUT] = {writer_apply_move_out,STORE_TROUBLE          },
	[STORE_MOVE_FORGET] = {writer_apply_move_forget,                     STORE_TROUBLE                   },
	[STORE_QUEUE_SLICE] = {writer_apply_queue_slice,             writer_queue_slice_committed,
			  STORE_TROUBLE},
};

const struct writer_op *writer_op_of(const struct op *op)
{
	if (op->kind >= ARRAY_LEN(table) || !table[op->kind].apply)
		return NULL;
	return &table[op->kind];
}

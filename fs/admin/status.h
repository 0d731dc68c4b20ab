/* The texts of /.rowfs. Each appends to OUT; the resets start counting anew. */
#pragma once

#include "fs/core/call.h"

void status_json(struct call *call, struct buf *out);
void status_config(struct call *call, struct buf *out);
void status_layout(struct call *call, struct buf *out);
void status_metrics(struct call *call, struct buf *out);
void status_errors(struct call *call, struct buf *out);
void status_reset(struct call *call);
void status_reset_errors(struct call *call);

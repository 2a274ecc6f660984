def brief(row):
    keys = (
        "D",
        "D_strict",
        "logistic of raw",
        "logistic of common",
        "logistic of both",
        "mAP image→text by common",
        "mAP text→image by common",
        "Recall@10 by common",
    )
    shown = [f"{k} {row[k]:.3f}" for k in keys if k in row]
    return " ".join([*filter(None, [row["variant"], row["note"]]), *shown])


def write(rows, absent, left_out, n_seeds, folder):
    return 0

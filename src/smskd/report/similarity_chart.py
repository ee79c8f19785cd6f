"""The chart of the similarity of features, a matrix for each stage."""

from collections.abc import Mapping

import altair as alt

from smskd.report import theme
from smskd.report.marks import Chart, Record, small_multiples, tip


def similarity_chart(title: str, stages: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Chart:
    """Similarities from 0 to 1 as a matrix, a small one for each stage.

    Args:
        title: of the run.
        stages: the similarity by stage, by the student's feature (rows), and by what it is compared with (columns).
    """
    records: list[Record] = [
        {
            "series": stage,
            "row": row,
            "column": column,
            "value": value,
            "ink": theme.ON_DEEP if value > 0.5 else theme.INK,
        }
        for stage, features in stages.items()
        for row, similar in features.items()
        for column, value in similar.items()
    ]
    # The columns are those of the stage with most of them: the first has no stage before it.
    records.sort(key=lambda record: max(len(similar) for similar in stages[record["series"]].values()), reverse=True)
    rows, columns = ([*dict.fromkeys(record[key] for record in records)] for key in ("row", "column"))
    bare = alt.Axis(domain=False, ticks=False, grid=False, labelLimit=110)
    turned = alt.Axis(domain=False, ticks=False, grid=False, labelLimit=110, labelAngle=-40)
    x = alt.X("column:N", title=None, scale=alt.Scale(domain=columns), axis=turned)
    y = alt.Y("row:N", title=None, scale=alt.Scale(domain=rows), axis=bare)
    shade = alt.Fill("value:Q", scale=alt.Scale(domain=[0, 1], range=[theme.PALE, theme.BLUE], zero=False), legend=None)
    tips = [tip("row", "Student", None), tip("column", "With", None), tip("value", "CKA", ".3f")]
    own = alt.Chart()
    layers = [
        own.mark_rect(stroke=theme.GROUND, strokeWidth=1.5).encode(x=x, y=y, fill=shade, tooltip=tips),
        own.mark_text(fontSize=10.5).encode(
            x=x, y=y, text=alt.Text("value:Q", format=".2f"), color=alt.Color("ink:N", scale=None), tooltip=tips
        ),
    ]
    words = "Matrices of the similarity of the student's features with others"
    return small_multiples(layers, records, list(stages), f"{title}: similarity of features", words, least=250)

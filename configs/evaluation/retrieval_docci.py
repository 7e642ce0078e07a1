# Retrieval by long captions on the 5000 test images of DOCCI (arXiv
# 2404.19753): one description an image. Captions beyond the context of the
# CLIP are cut, and counted in the line "Data health". Everything else as in
# retrieval_coco5k.py.
_base_ = './retrieval_coco5k.py'
test_dataloader = dict(
    dataset=dict(
        # docci_descriptions.jsonlines, images/
        data_root='{{$DOCCI_ROOT:data/docci/}}',
        ann_file='docci_descriptions.jsonlines',
        data_prefix=dict(img='images/'),
    )
)
benchmark = dict(
    task='retrieval by long captions, DOCCI',
    subfolders=[''],
    data='DOCCI_ROOT: docci_descriptions.jsonlines and images/ of '
    'https://google.github.io/docci/',
)

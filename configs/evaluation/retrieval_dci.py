# Retrieval by long captions on all 7805 images of Densely Captioned Images
# (DCI, arXiv 2312.08578): one caption an image, its short and its extended
# one together. Captions beyond the context of the CLIP are cut, and counted
# in the line "Data health". Everything else as in retrieval_coco5k.py.
_base_ = './retrieval_coco5k.py'
test_dataloader = dict(
    dataset=dict(
        # annotations/ with a json file an image, photos/
        data_root='{{$DCI_ROOT:data/dci/}}',
        ann_file='annotations',
        data_prefix=dict(img='photos/'),
        split=None,
    )
)
benchmark = dict(
    task='retrieval by long captions, DCI',
    files=['*.json'],
    subfolders=[''],
    data='DCI_ROOT: annotations/ and photos/ of '
    'https://github.com/facebookresearch/DCI; the photos are of SA-1B, '
    'https://ai.meta.com/datasets/segment-anything',
)
